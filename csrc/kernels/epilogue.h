// The last steps of a product or a convolution, before it writes its result.
#pragma once

#include <cstdint>

namespace etggml::kernels {

/// Functions that cost a pass over memory of their own when they are not part of the product.
enum class Activation : int32_t { kNone, kGeluErf, kGeluTanh, kSilu, kSigmoid, kHardSwish, kHardSigmoid };

/// clamp(activation(y + bias), min, max); NaN stays NaN.
struct Epilogue {
  Activation activation = Activation::kNone;
  float min = -__builtin_inff();
  float max = __builtin_inff();

  bool is_nothing() const {
    return activation == Activation::kNone && min == -__builtin_inff() && max == __builtin_inff();
  }
};

/// Bias (one per row, or nullptr) and epilogue on a block of a result: `columns` runs of `rows` floats, stride apart.
using FinishFunction = void (*)(const float* bias, const Epilogue& e, int rows, int64_t columns, float* y,
                                int64_t stride);

}  // namespace etggml::kernels
