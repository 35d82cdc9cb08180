// Epilogues in registers, read again for every target (simd-inl.h).
#if defined(ETGGML_KERNELS_EPILOGUE_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef ETGGML_KERNELS_EPILOGUE_INL_H
#undef ETGGML_KERNELS_EPILOGUE_INL_H
#else
#define ETGGML_KERNELS_EPILOGUE_INL_H
#endif

#include "kernels/epilogue.h"
#include "kernels/simd_math-inl.h"

#if ETGGML_SIMD
HWY_BEFORE_NAMESPACE();
namespace etggml::kernels::HWY_NAMESPACE {
namespace {

HWY_INLINE Reg activate(Activation activation, Reg x) {
  switch (activation) {
    case Activation::kNone:
      return x;
    case Activation::kGeluErf:
      return gelu_erf(x);
    case Activation::kGeluTanh:
      return gelu_tanh(x);
    case Activation::kSilu:
      return hn::Mul(x, sigmoid(x));
    case Activation::kSigmoid:
      return sigmoid(x);
    case Activation::kHardSwish:
      return hn::Mul(x, hard_sigmoid(x));
    case Activation::kHardSigmoid:
      return hard_sigmoid(x);
  }
  return x;
}

/// The operand order lets NaN through.
inline Reg clamp(const Epilogue& e, Reg x) { return maximum(set(e.min), minimum(set(e.max), x)); }

}  // namespace
}  // namespace etggml::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif  // ETGGML_SIMD

#endif  // toggled
