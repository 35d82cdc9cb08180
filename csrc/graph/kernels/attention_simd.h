// What the inner loops of attention share, written on struct Simd (simd_*.h), which the including file chooses. Unnamed
// namespace: see there.
#pragma once

#include <math.h>  // the C functions: std::exp(float) and friends are inline, and the linker may share such code

#include "graph/kernels/attention_tile.h"

namespace {

using etggml::graph::kAttentionTile;
using Reg = Simd::Reg;

constexpr int kW = Simd::kWidth;

struct Half {
  static constexpr int kBytes = 2;
  static Reg load(const char* row, int d) { return Simd::load_half(reinterpret_cast<const uint16_t*>(row) + d); }
};

struct Single {
  static constexpr int kBytes = 4;
  static Reg load(const char* row, int d) { return Simd::load(reinterpret_cast<const float*>(row) + d); }
};

/// exp(x) for x <= 0, to about one unit in the last place: 2^n * p(r) with x = n ln 2 + r, p the polynomial of Cephes'
/// expf. Below -104 the result is 0 or the smallest number there is.
inline Reg exp_negative(Reg x) {
  x = Simd::max(x, Simd::set(-104.0f));
  const Reg n = Simd::round(Simd::mul(x, Simd::set(1.44269504f)));
  Reg r = Simd::fma(n, Simd::set(-0.693359375f), x);
  r = Simd::fma(n, Simd::set(2.12194440e-4f), r);
  Reg p = Simd::set(1.9875691500e-4f);
  p = Simd::fma(p, r, Simd::set(1.3981999507e-3f));
  p = Simd::fma(p, r, Simd::set(8.3334519073e-3f));
  p = Simd::fma(p, r, Simd::set(4.1665795894e-2f));
  p = Simd::fma(p, r, Simd::set(1.6666665459e-1f));
  p = Simd::fma(p, r, Simd::set(5.0000001201e-1f));
  p = Simd::add(Simd::fma(Simd::mul(p, r), r, r), Simd::set(1.0f));
  return Simd::scale_by_power(p, n);
}

/// Scores of one row -> exp(score - new maximum), over `padded` (whole registers) of them; brings the row's running
/// maximum and sum up to date and returns the factor for what was accumulated under the old maximum.
inline float soften(float* scores, int padded, float& max, float& sum) {
  Reg top = Simd::load(scores);
  for (int i = kW; i < padded; i += kW) top = Simd::max(top, Simd::load(scores + i));
  const float old = max, now = fmaxf(old, Simd::largest(top));
  const float factor = old == now ? 1.0f : expf(old - now);
  Reg total = Simd::zero();
  for (int i = 0; i < padded; i += kW) {
    const Reg e = exp_negative(Simd::sub(Simd::load(scores + i), Simd::set(now)));
    Simd::store(scores + i, e);
    total = Simd::add(total, e);
  }
  max = now;
  sum = sum * factor + Simd::sum(total);
  return factor;
}

}  // namespace
