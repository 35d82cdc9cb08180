// Functions of a register of floats, read again for every target (simd-inl.h).
#if defined(ETGGML_KERNELS_SIMD_MATH_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef ETGGML_KERNELS_SIMD_MATH_INL_H
#undef ETGGML_KERNELS_SIMD_MATH_INL_H
#else
#define ETGGML_KERNELS_SIMD_MATH_INL_H
#endif

#include "kernels/simd-inl.h"

#if ETGGML_SIMD
HWY_BEFORE_NAMESPACE();
namespace etggml::kernels::HWY_NAMESPACE {
namespace {

/// exp(x) for -104 <= x <= 0, to about one unit in the last place: 2^n * p(r) with x = n ln 2 + r, p the polynomial of
/// Cephes' expf. NaN stays NaN.
inline Reg exp_in_range(Reg x) {
  const Reg n = hn::Round(hn::Mul(x, set(1.44269504f)));
  Reg r = hn::MulAdd(n, set(-0.693359375f), x);
  r = hn::MulAdd(n, set(2.12194440e-4f), r);
  Reg p = set(1.9875691500e-4f);
  p = hn::MulAdd(p, r, set(1.3981999507e-3f));
  p = hn::MulAdd(p, r, set(8.3334519073e-3f));
  p = hn::MulAdd(p, r, set(4.1665795894e-2f));
  p = hn::MulAdd(p, r, set(1.6666665459e-1f));
  p = hn::MulAdd(p, r, set(5.0000001201e-1f));
  p = hn::Add(hn::MulAdd(hn::Mul(p, r), r, r), set(1.0f));
  return scale_by_power(p, n);
}

/// exp(x) for x <= 0. Below -104 the result is 0 or the smallest number there is; NaN stays NaN.
inline Reg exp_negative(Reg x) { return exp_in_range(maximum(set(-104.0f), x)); }

/// exp(-|x|), NaN where x is.
inline Reg exp_of_minus_abs(Reg x) { return exp_in_range(maximum(set(-104.0f), hn::Sub(zero(), hn::Abs(x)))); }

/// 1 / (1 + exp(-x)).
inline Reg sigmoid(Reg x) {
  const Reg e = exp_of_minus_abs(x), one = set(1.0f);
  return hn::Div(where_ge(x, zero(), one, e), hn::Add(one, e));
}

/// Near 0, where a quotient of exponentials would lose digits, x * p(x^2) with the polynomial of Cephes' tanhf.
inline Reg tanh(Reg x) {
  const Reg z = hn::Mul(x, x);
  Reg p = set(-5.70498872745e-3f);
  p = hn::MulAdd(p, z, set(2.06390887954e-2f));
  p = hn::MulAdd(p, z, set(-5.37397155531e-2f));
  p = hn::MulAdd(p, z, set(1.33314422036e-1f));
  p = hn::MulAdd(p, z, set(-3.33332819422e-1f));
  const Reg near = hn::Mul(x, hn::MulAdd(p, z, set(1.0f)));  // -0 stays -0
  const Reg e = exp_of_minus_abs(hn::Add(x, x)), one = set(1.0f);
  const Reg far = hn::Div(hn::Sub(one, e), hn::Add(one, e));
  const Reg signed_far = where_ge(x, zero(), far, hn::Sub(zero(), far));
  return where_ge(hn::Abs(x), set(0.625f), signed_far, near);
}

/// erf(x / sqrt(2)), to 2.5e-7: x * p(x^2), with p of degree 14, and +-1 beyond 5.4. p is fitted by weighted least
/// squares in Chebyshev points of [0, 5.4^2]. It is written in s = 2 x^2 / 5.4^2 - 1, where its coefficients are small.
inline Reg erf_of_sqrt2(Reg x) {
  constexpr float kEnd = 5.4f;
  constexpr float kP[] = {0.26185622811317444f,   -0.13065610826015472f, 0.09699918329715729f,   -0.07841362804174423f,
                          0.0642331913113594f,    -0.05149291083216667f, 0.03929027169942856f,   -0.027926653623580933f,
                          0.01930244080722332f,   -0.01343065220862627f, 0.0073177688755095005f, -0.002372841816395521f,
                          0.0017499260138720274f, -0.00205673067830503f, 0.000785699812695384f};
  const Reg c = maximum(set(-kEnd), minimum(set(kEnd), x));
  const Reg s = hn::MulAdd(hn::Mul(c, c), set(2.0f / (kEnd * kEnd)), set(-1.0f));
  Reg p = set(kP[14]);
  HWY_UNROLL(14)
  for (int i = 13; i >= 0; --i) p = hn::MulAdd(p, s, set(kP[i]));
  const Reg one = set(1.0f), end = set(kEnd), y = hn::Mul(p, c);
  return where_ge(x, end, one, where_ge(set(-kEnd), x, set(-1.0f), y));
}

inline Reg gelu_erf(Reg x) { return hn::Mul(hn::Mul(set(0.5f), x), hn::Add(set(1.0f), erf_of_sqrt2(x))); }

/// 0.5 x (1 + tanh(u)) = x * sigmoid(2 u), u = sqrt(2 / pi) (x + 0.044715 x^3).
inline Reg gelu_tanh(Reg x) {
  const Reg cubic = hn::MulAdd(hn::Mul(x, x), set(0.0713548162726f), set(1.5957691216057f));
  return hn::Mul(x, sigmoid(hn::Mul(x, cubic)));
}

/// (x + 3) / 6 within [0, 1].
inline Reg hard_sigmoid(Reg x) {
  const Reg y = hn::MulAdd(x, set(1.0f / 6.0f), set(0.5f));
  return maximum(zero(), minimum(set(1.0f), y));
}

}  // namespace
}  // namespace etggml::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif  // ETGGML_SIMD

#endif  // toggled
