// softmax.h written on struct Simd (simd_*.h), which the including file chooses. Unnamed namespace: see there.
#pragma once

#include <math.h>  // C's, see attention_simd.h

#include "kernels/simd_math.h"

namespace {

inline Reg masked(Reg score, Reg mask, bool bounds) {
  const Reg sum = Simd::add(score, mask), none = Simd::set(-INFINITY);
  return bounds ? Simd::where_ge(none, mask, none, sum) : sum;
}

void softmax_row(const float* x, const float* mask, bool bounds, float scale, int64_t n, float* y) {
  const Reg factor = Simd::set(scale), none = Simd::set(-INFINITY);  // for lanes beyond the row
  Reg top = none;
  int64_t i = 0;
  for (; i + kW <= n; i += kW) {
    Reg s = Simd::mul(Simd::load(x + i), factor);
    if (mask) s = masked(s, Simd::load(mask + i), bounds);
    Simd::store(y + i, s);
    top = Simd::max(top, s);
  }
  const Simd::Mask rest = Simd::first(static_cast<int>(n - i));
  if (i < n) {
    Reg s = Simd::mul(Simd::load(x + i, rest), factor);
    if (mask) s = masked(s, Simd::load(mask + i, rest), bounds);
    Simd::store(y + i, s, rest);
    top = Simd::max(top, Simd::load(y + i, rest, none));
  }
  const float largest = Simd::largest(top);
  // Where nothing is seen: exp(-inf - 0) is 0, and NaN stays NaN.
  const Reg base = Simd::set(largest == -INFINITY ? 0.0f : largest);
  double sum = 0.0;
  constexpr int64_t kRun = 64 * kW;  // numbers that are summed in F32
  for (i = 0; i < n;) {
    const int64_t end = i + kRun < n ? i + kRun : n;
    Reg total = Simd::zero();
    for (; i + kW <= end; i += kW) {
      const Reg e = exp_negative(Simd::sub(Simd::load(y + i), base));
      Simd::store(y + i, e);
      total = Simd::add(total, e);
    }
    if (i < end) {
      const Reg e = exp_negative(Simd::sub(Simd::load(y + i, rest, none), base));
      Simd::store(y + i, e, rest);
      total = Simd::add(total, e);
      i = end;
    }
    sum += static_cast<double>(Simd::sum(total));
  }
  if (sum == 0.0) return;
  const Reg part = Simd::set(static_cast<float>(1.0 / sum));
  for (i = 0; i + kW <= n; i += kW) Simd::store(y + i, Simd::mul(Simd::load(y + i), part));
  if (i < n) Simd::store(y + i, Simd::mul(Simd::load(y + i, rest), part), rest);
}

}  // namespace
