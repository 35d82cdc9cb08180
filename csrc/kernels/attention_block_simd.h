// attention_block.h written on struct Simd (simd_*.h), which the including file chooses. Unnamed namespace: see there.
#pragma once

#include "kernels/attention_block.h"
#include "kernels/attention_simd.h"

namespace {

using etggml::graph::AttentionBlock;
using etggml::graph::AttentionOperands;

constexpr int kTileRegs = kAttentionTile / kW;
constexpr int kScoreRows = Simd::kRegisters == 32 ? 8 : 2;  // times kTileRegs accumulators
constexpr int kWeighRows = 4;
constexpr int kWeighRegs = Simd::kRegisters == 32 ? 4 : 2;

template <class Row>
void convert(const char* k, int64_t k_stride, int dk, const char* v, int64_t v_stride, int dv, const bool* visible,
             int count, const AttentionOperands& out) {
  for (int s = 0; s < kAttentionTile; s += kW) {
    for (int d = 0; d < dk; d += kW) {
      Reg rows[kW];
      for (int i = 0; i < kW; ++i) {
        rows[i] = s + i < count && visible[s + i] ? Row::load(k + (s + i) * k_stride, d) : Simd::zero();
      }
      Simd::transpose(rows);
      for (int i = 0; i < kW; ++i) Simd::store(out.keys + (d + i) * kAttentionTile + s, rows[i]);
    }
  }
  for (int s = 0; s < kAttentionTile; ++s) {
    const bool seen = s < count && visible[s];
    for (int d = 0; d < dv; d += kW) {
      Simd::store(out.values + s * dv + d, seen ? Row::load(v + s * v_stride, d) : Simd::zero());
    }
  }
}

template <int R>
inline void score(const AttentionBlock& b, int row, float (*scores)[kAttentionTile]) {
  Reg s[R][kTileRegs];
  for (int r = 0; r < R; ++r) {
    for (int n = 0; n < kTileRegs; ++n) s[r][n] = Simd::zero();
  }
  const float* q = b.q + row * b.dk;
  for (int d = 0; d < b.dk; ++d) {
    Reg keys[kTileRegs];
    for (int n = 0; n < kTileRegs; ++n) keys[n] = Simd::load(b.operands.keys + d * kAttentionTile + n * kW);
    for (int r = 0; r < R; ++r) {
      const Reg x = Simd::set(q[r * b.dk + d]);
      for (int n = 0; n < kTileRegs; ++n) s[r][n] = Simd::fma(keys[n], x, s[r][n]);
    }
  }
  for (int r = 0; r < R; ++r) {
    for (int n = 0; n < kTileRegs; ++n) Simd::store(scores[r] + n * kW, s[r][n]);
  }
}

inline float soften_row(const AttentionBlock& b, int row, float* scores) {
  if (b.softcap != 0.0f) {
    for (int i = 0; i < kAttentionTile; ++i) scores[i] = b.softcap * tanhf(scores[i]);
  }
  if (const float* bias = b.bias[row]) {
    const Reg slope = Simd::set(b.slopes[row]);
    for (int i = 0; i < kAttentionTile; i += kW) {
      const Reg x = Simd::load(bias + i), s = Simd::load(scores + i);
      Simd::store(scores + i, b.bounds ? Simd::min(s, x) : Simd::fma(x, slope, s));
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
    const Reg factor = Simd::set(factors[r]);
    for (int n = 0; n < N; ++n) acc[r][n] = Simd::mul(Simd::load(out + r * b.dv + n * kW), factor);
  }
  for (int i = 0; i < kAttentionTile; ++i) {
    Reg x[N];
    for (int n = 0; n < N; ++n) x[n] = Simd::load(b.operands.values + i * b.dv + d + n * kW);
    for (int r = 0; r < R; ++r) {
      const Reg p = Simd::set(scores[r][i]);
      for (int n = 0; n < N; ++n) acc[r][n] = Simd::fma(x[n], p, acc[r][n]);
    }
  }
  for (int r = 0; r < R; ++r) {
    for (int n = 0; n < N; ++n) Simd::store(out + r * b.dv + n * kW, acc[r][n]);
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

}  // namespace
