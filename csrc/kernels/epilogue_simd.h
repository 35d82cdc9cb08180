// Epilogues in registers. After simd_*.h; unnamed namespace: see there.
#pragma once

#include "kernels/epilogue.h"
#include "kernels/simd_math.h"

namespace {

using etggml::graph::Activation;
using etggml::graph::Epilogue;

inline Reg activate(Activation activation, Reg x) {
  switch (activation) {
    case Activation::kNone:
      return x;
    case Activation::kGeluErf:
      return gelu_erf(x);
    case Activation::kGeluTanh:
      return gelu_tanh(x);
    case Activation::kSilu:
      return Simd::mul(x, sigmoid(x));
    case Activation::kSigmoid:
      return sigmoid(x);
    case Activation::kHardSwish:
      return Simd::mul(x, hard_sigmoid(x));
    case Activation::kHardSigmoid:
      return hard_sigmoid(x);
  }
  return x;
}

/// The operand order lets NaN through.
inline Reg clamp(const Epilogue& e, Reg x) { return Simd::max(Simd::set(e.min), Simd::min(Simd::set(e.max), x)); }

}  // namespace
