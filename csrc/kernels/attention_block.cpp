#include "kernels/attention_block.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/attention_block.cpp"
#include "hwy/foreach_target.h"  // reads this file for every target
// after it
#include "kernels/attention-inl.h"

HWY_BEFORE_NAMESPACE();
namespace etggml::kernels::HWY_NAMESPACE {
namespace {

#if ETGGML_SIMD

constexpr int kTileRegs = kAttentionTile / kW;
constexpr int kScoreRows = kW == 16 ? 8 : 2;  // times kTileRegs accumulators
constexpr int kWeighRows = 4;
constexpr int kWeighRegs = kRegisters == 32 ? 4 : 2;

template <class Row>
void convert(const char* k, int64_t k_stride, int dk, const char* v, int64_t v_stride, int dv, const bool* visible,
             int count, const AttentionOperands& out) {
  for (int s = 0; s < kAttentionTile; s += kW) {
    for (int d = 0; d < dk; d += kW) {
      Reg rows[kW];
      for (int i = 0; i < kW; ++i) {
        rows[i] = s + i < count && visible[s + i] ? Row::at(k + (s + i) * k_stride, d) : zero();
      }
      transpose(rows);
      for (int i = 0; i < kW; ++i) store(out.keys + (d + i) * kAttentionTile + s, rows[i]);
    }
  }
  for (int s = 0; s < kAttentionTile; ++s) {
    const bool seen = s < count && visible[s];
    for (int d = 0; d < dv; d += kW) {
      store(out.values + s * dv + d, seen ? Row::at(v + s * v_stride, d) : zero());
    }
  }
}

template <int R>
inline void score(const AttentionBlock& b, int row, float (*scores)[kAttentionTile]) {
  Reg s[R][kTileRegs];
  for (int r = 0; r < R; ++r) {
    for (int n = 0; n < kTileRegs; ++n) s[r][n] = zero();
  }
  const float* q = b.q + row * b.dk;
  for (int d = 0; d < b.dk; ++d) {
    Reg keys[kTileRegs];
    for (int n = 0; n < kTileRegs; ++n) keys[n] = load(b.operands.keys + d * kAttentionTile + n * kW);
    for (int r = 0; r < R; ++r) {
      const Reg x = set(q[r * b.dk + d]);
      for (int n = 0; n < kTileRegs; ++n) s[r][n] = hn::MulAdd(keys[n], x, s[r][n]);
    }
  }
  for (int r = 0; r < R; ++r) {
    for (int n = 0; n < kTileRegs; ++n) store(scores[r] + n * kW, s[r][n]);
  }
}

inline float soften_row(const AttentionBlock& b, int row, float* scores) {
  if (b.softcap != 0.0f) {
    for (int i = 0; i < kAttentionTile; ++i) scores[i] = b.softcap * tanhf(scores[i]);
  }
  if (const float* bias = b.bias[row]) {
    const Reg slope = set(b.slopes[row]);
    for (int i = 0; i < kAttentionTile; i += kW) {
      const Reg x = load(bias + i), s = load(scores + i);
      store(scores + i, b.bounds ? minimum(s, x) : hn::MulAdd(x, slope, s));
    }
  }
  return soften(scores, kAttentionTile, b.max[row], b.sum[row]);
}

/// acc = acc * factor + scores * values for R rows and N registers of the head from element d.
template <int R, int N>
inline void weigh(const AttentionBlock& b, int row, int d, const float* factors, float (*scores)[kAttentionTile]) {
  Reg acc[R][N];
  float* out = b.acc + row * b.dv + d;
  for (int r = 0; r < R; ++r) {
    const Reg factor = set(factors[r]);
    for (int n = 0; n < N; ++n) acc[r][n] = hn::Mul(load(out + r * b.dv + n * kW), factor);
  }
  for (int i = 0; i < kAttentionTile; ++i) {
    Reg x[N];
    for (int n = 0; n < N; ++n) x[n] = load(b.operands.values + i * b.dv + d + n * kW);
    for (int r = 0; r < R; ++r) {
      const Reg p = set(scores[r][i]);
      for (int n = 0; n < N; ++n) acc[r][n] = hn::MulAdd(x[n], p, acc[r][n]);
    }
  }
  for (int r = 0; r < R; ++r) {
    for (int n = 0; n < N; ++n) store(out + r * b.dv + n * kW, acc[r][n]);
  }
}

template <int R>
inline void weigh_rows(const AttentionBlock& b, int row, const float* factors, float (*scores)[kAttentionTile]) {
  int d = 0;
  for (; d + kWeighRegs * kW <= b.dv; d += kWeighRegs * kW) weigh<R, kWeighRegs>(b, row, d, factors, scores);
  for (; d < b.dv; d += kW) weigh<R, 1>(b, row, d, factors, scores);
}

void multiply(const AttentionBlock& b) {
  alignas(64) float scores[8][kAttentionTile];
  float factors[8];
  for (int row = 0; row < b.rows;) {
    const int n = b.rows - row < 8 ? b.rows - row : 8;
    int r = 0;
    for (; r + kScoreRows <= n; r += kScoreRows) score<kScoreRows>(b, row + r, scores + r);
    for (; r < n; ++r) score<1>(b, row + r, scores + r);
    for (r = 0; r < n; ++r) factors[r] = soften_row(b, row + r, scores[r]);
    for (r = 0; r + kWeighRows <= n; r += kWeighRows) weigh_rows<kWeighRows>(b, row + r, factors + r, scores + r);
    for (; r < n; ++r) weigh_rows<1>(b, row + r, factors + r, scores + r);
    row += n;
  }
}

AttentionBlockFunctions of_target() { return {convert<Fp16Row>, convert<F32Row>, multiply}; }

#else

AttentionBlockFunctions of_target() { return {}; }

#endif

}  // namespace
}  // namespace etggml::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace etggml::kernels {

HWY_EXPORT(of_target);

AttentionBlockFunctions attention_block_functions() { return HWY_DYNAMIC_DISPATCH(of_target)(); }

}  // namespace etggml::kernels
#endif  // HWY_ONCE
