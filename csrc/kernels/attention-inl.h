// The inner loops of attention share these functions; read again for every target (simd-inl.h).
#if defined(ETGGML_KERNELS_ATTENTION_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef ETGGML_KERNELS_ATTENTION_INL_H
#undef ETGGML_KERNELS_ATTENTION_INL_H
#else
#define ETGGML_KERNELS_ATTENTION_INL_H
#endif

#include <math.h>

#include "kernels/attention_tile.h"
#include "kernels/simd_math-inl.h"

#if ETGGML_SIMD
HWY_BEFORE_NAMESPACE();
namespace etggml::kernels::HWY_NAMESPACE {
namespace {

struct Fp16Row {
  static constexpr int kBytes = 2;
  static Reg at(const char* row, int d) { return load_f16(reinterpret_cast<const uint16_t*>(row) + d); }
};

struct F32Row {
  static constexpr int kBytes = 4;
  static Reg at(const char* row, int d) { return load(reinterpret_cast<const float*>(row) + d); }
};

/// Scores of one row -> exp(score - new maximum), over `padded` (whole registers) of them. Updates the row's running
/// maximum and sum. Returns the factor for sums under the old maximum. Scores of -inf weigh nothing, also if there are
/// no others; a NaN makes the sum NaN.
inline float soften(float* scores, int padded, float& max, float& sum) {
  Reg top = load(scores);
  for (int i = kW; i < padded; i += kW) top = maximum(top, load(scores + i));
  const float old = max, now = fmaxf(old, hn::ReduceMax(kFloats, top));
  const float factor = old == now ? 1.0f : expf(old - now);
  const float base = now == -INFINITY ? 0.0f : now;
  Reg total = zero();
  for (int i = 0; i < padded; i += kW) {
    const Reg e = exp_negative(hn::Sub(load(scores + i), set(base)));
    store(scores + i, e);
    total = hn::Add(total, e);
  }
  max = now;
  sum = sum * factor + hn::ReduceSum(kFloats, total);
  return factor;
}

}  // namespace
}  // namespace etggml::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif  // ETGGML_SIMD

#endif  // toggled
