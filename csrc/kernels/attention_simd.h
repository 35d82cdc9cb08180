// What the inner loops of attention share, written on struct Simd (simd_*.h), which the including file chooses. Unnamed
// namespace: see there.
#pragma once

#include <math.h>  // the C functions: std::exp(float) and friends are inline, and the linker may share such code

#include "kernels/attention_tile.h"
#include "kernels/simd_math.h"

namespace {

using etggml::graph::kAttentionTile;

struct Half {
  static constexpr int kBytes = 2;
  static Reg load(const char* row, int d) { return Simd::load_half(reinterpret_cast<const uint16_t*>(row) + d); }
};

struct Single {
  static constexpr int kBytes = 4;
  static Reg load(const char* row, int d) { return Simd::load(reinterpret_cast<const float*>(row) + d); }
};

/// Scores of one row -> exp(score - new maximum), over `padded` (whole registers) of them. Updates the row's running
/// maximum and sum. Returns the factor for sums under the old maximum. Scores of -inf weigh nothing, also if there are
/// no others; a NaN makes the sum NaN.
inline float soften(float* scores, int padded, float& max, float& sum) {
  Reg top = Simd::load(scores);
  for (int i = kW; i < padded; i += kW) top = Simd::max(top, Simd::load(scores + i));
  const float old = max, now = fmaxf(old, Simd::largest(top));
  const float factor = old == now ? 1.0f : expf(old - now);
  const float base = now == -INFINITY ? 0.0f : now;
  Reg total = Simd::zero();
  for (int i = 0; i < padded; i += kW) {
    const Reg e = exp_negative(Simd::sub(Simd::load(scores + i), Simd::set(base)));
    Simd::store(scores + i, e);
    total = Simd::add(total, e);
  }
  max = now;
  sum = sum * factor + Simd::sum(total);
  return factor;
}

}  // namespace
