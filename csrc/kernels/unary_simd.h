// Elementwise functions of arrays. After simd_*.h; unnamed namespace: see there.
#pragma once

#include "kernels/simd_math.h"

namespace {

template <class Function>
inline void each(const float* x, int64_t n, float* y, Function function) {
  int64_t i = 0;
  for (; i + kW <= n; i += kW) Simd::store(y + i, function(Simd::load(x + i)));
  if (i == n) return;
  const Simd::Mask rest = Simd::first(static_cast<int>(n - i));
  Simd::store(y + i, function(Simd::load(x + i, rest)), rest);
}

void tanh_of(const float* x, int64_t n, float* y) {
  each(x, n, y, [](Reg v) { return tanh(v); });
}

void sigmoid_of(const float* x, int64_t n, float* y) {
  each(x, n, y, [](Reg v) { return sigmoid(v); });
}

}  // namespace
