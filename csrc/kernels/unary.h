// Elementwise functions on the CPU that ggml computes with one call of the C library for each element.
#pragma once

#include "kernels/kernels.h"

namespace etggml::kernels {

struct UnaryFunctions {
  /// y[i] = f(x[i]), i < n. To about one unit in the last place, NaN and the infinities as torch has them.
  void (*tanh)(const float* x, int64_t n, float* y) = nullptr;
  void (*sigmoid)(const float* x, int64_t n, float* y) = nullptr;
};

/// The best for this CPU; nullptr functions where there are none.
UnaryFunctions unary_functions();

/// Takes contiguous F32 x; nullptr for everything else.
ggml_tensor* unary(ggml_context* ctx, UnaryOp op, ggml_tensor* x, const UnaryFunctions& functions);

}  // namespace etggml::kernels
