#include "kernels/attention_tile.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/attention_tile.cpp"
#include "hwy/foreach_target.h"  // reads this file for every target
// after it
#include "kernels/attention-inl.h"

HWY_BEFORE_NAMESPACE();
namespace etggml::kernels::HWY_NAMESPACE {
namespace {

#if ETGGML_SIMD

inline void prefetch(const char* row, int bytes) {
  for (int at = 0; at < bytes; at += 64) __builtin_prefetch(row + at, 0, 3);
}

template <class Row, int R>
void dot_products(const AttentionTile& t, float (*scores)[kAttentionTile]) {
  for (int i = 0; i < t.count; ++i) {
    if (t.next_k) prefetch(t.next_k + i * t.k_stride, t.dk * Row::kBytes);
    const char* key = t.k + t.visible[i] * t.k_stride;
    Reg s[R];
    for (int r = 0; r < R; ++r) s[r] = zero();
    for (int d = 0; d < t.dk; d += kW) {
      const Reg x = Row::at(key, d);
      for (int r = 0; r < R; ++r) s[r] = hn::MulAdd(x, load(t.q + r * t.dk + d), s[r]);
    }
    for (int r = 0; r < R; ++r) scores[r][i] = hn::ReduceSum(kFloats, s[r]);
  }
}

/// soften() after soft cap and bias.
inline float soften_row(const AttentionTile& t, int r, float* scores) {
  if (t.softcap != 0.0f) {
    for (int i = 0; i < t.count; ++i) scores[i] = t.softcap * tanhf(scores[i]);
  }
  if (t.bias) {
    for (int i = 0; i < t.count; ++i) {
      scores[i] = t.bounds && t.bias[i] == -INFINITY ? -INFINITY : scores[i] + t.slopes[r] * t.bias[i];
    }
  }
  int padded = t.count;
  for (; padded % kW != 0; ++padded) scores[padded] = -INFINITY;
  return soften(scores, padded, t.max[r], t.sum[r]);
}

/// acc = acc * factor + scores * v for N registers of the head from element d. The first of these also asks for the
/// next tile's values, row by row: all at once would fill the core's line buffers.
template <class Row, int R, int N>
inline void weigh(const AttentionTile& t, int d, const float* factors, float (*scores)[kAttentionTile]) {
  Reg acc[R][N];
  for (int r = 0; r < R; ++r) {
    for (int n = 0; n < N; ++n) {
      acc[r][n] = hn::Mul(load(t.acc + r * t.dv + d + n * kW), set(factors[r]));
    }
  }
  const bool ask = d == 0 && t.next_v != nullptr;
  for (int i = 0; i < t.count; ++i) {
    if (ask) prefetch(t.next_v + i * t.v_stride, t.dv * Row::kBytes);
    const char* value = t.v + t.visible[i] * t.v_stride;
    Reg x[N];
    for (int n = 0; n < N; ++n) x[n] = Row::at(value, d + n * kW);
    for (int r = 0; r < R; ++r) {
      const Reg p = set(scores[r][i]);
      for (int n = 0; n < N; ++n) acc[r][n] = hn::MulAdd(x[n], p, acc[r][n]);
    }
  }
  for (int r = 0; r < R; ++r) {
    for (int n = 0; n < N; ++n) store(t.acc + r * t.dv + d + n * kW, acc[r][n]);
  }
}

template <class Row, int R>
void tile_rows(const AttentionTile& t) {
  constexpr int kStep = kRegisters == 32 ? 4 : 2;  // R * kStep accumulators, kStep values and a weight
  float scores[R][kAttentionTile];
  float factors[R];
  dot_products<Row, R>(t, scores);
  for (int r = 0; r < R; ++r) factors[r] = soften_row(t, r, scores[r]);
  int d = 0;
  for (; d + kStep * kW <= t.dv; d += kStep * kW) weigh<Row, R, kStep>(t, d, factors, scores);
  for (; d < t.dv; d += kW) weigh<Row, R, 1>(t, d, factors, scores);
}

template <class Row>
void tile(const AttentionTile& t) {
  static_assert(kAttentionMaxRows == 4, "a case for every number of rows");
  switch (t.rows) {
    case 1:
      return tile_rows<Row, 1>(t);
    case 2:
      return tile_rows<Row, 2>(t);
    case 3:
      return tile_rows<Row, 3>(t);
    default:
      return tile_rows<Row, 4>(t);
  }
}

AttentionTileFunctions of_target() { return {tile<Fp16Row>, tile<F32Row>}; }

#else

AttentionTileFunctions of_target() { return {}; }

#endif

}  // namespace
}  // namespace etggml::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace etggml::kernels {

HWY_EXPORT(of_target);

AttentionTileFunctions attention_tile_functions() { return HWY_DYNAMIC_DISPATCH(of_target)(); }

}  // namespace etggml::kernels
#endif  // HWY_ONCE
