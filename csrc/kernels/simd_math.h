// Functions of a register of floats, written on struct Simd (simd_*.h), which the including file chooses. Unnamed
// namespace: see there.
#pragma once

namespace {

using Reg = Simd::Reg;

constexpr int kW = Simd::kWidth;

/// exp(x) for -104 <= x <= 0, to about one unit in the last place: 2^n * p(r) with x = n ln 2 + r, p the polynomial of
/// Cephes' expf. NaN stays NaN.
inline Reg exp_in_range(Reg x) {
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

/// exp(x) for x <= 0. Below -104 the result is 0 or the smallest number there is; NaN stays NaN.
inline Reg exp_negative(Reg x) { return exp_in_range(Simd::max(Simd::set(-104.0f), x)); }

/// exp(-|x|), NaN where x is.
inline Reg exp_of_minus_abs(Reg x) {
  return exp_in_range(Simd::max(Simd::set(-104.0f), Simd::sub(Simd::zero(), Simd::abs(x))));
}

/// 1 / (1 + exp(-x)).
inline Reg sigmoid(Reg x) {
  const Reg e = exp_of_minus_abs(x), one = Simd::set(1.0f);
  return Simd::div(Simd::where_ge(x, Simd::zero(), one, e), Simd::add(one, e));
}

/// Near 0, where a quotient of exponentials would lose digits, x * p(x^2) with the polynomial of Cephes' tanhf.
inline Reg tanh(Reg x) {
  const Reg z = Simd::mul(x, x);
  Reg p = Simd::set(-5.70498872745e-3f);
  p = Simd::fma(p, z, Simd::set(2.06390887954e-2f));
  p = Simd::fma(p, z, Simd::set(-5.37397155531e-2f));
  p = Simd::fma(p, z, Simd::set(1.33314422036e-1f));
  p = Simd::fma(p, z, Simd::set(-3.33332819422e-1f));
  const Reg near = Simd::mul(x, Simd::fma(p, z, Simd::set(1.0f)));  // -0 stays -0
  const Reg e = exp_of_minus_abs(Simd::add(x, x)), one = Simd::set(1.0f);
  const Reg far = Simd::div(Simd::sub(one, e), Simd::add(one, e));
  const Reg signed_far = Simd::where_ge(x, Simd::zero(), far, Simd::sub(Simd::zero(), far));
  return Simd::where_ge(Simd::abs(x), Simd::set(0.625f), signed_far, near);
}

/// erf(x / sqrt(2)), to 2.5e-7: x * p(x^2), with p of degree 14, and +-1 beyond 5.4. p is fitted by weighted least
/// squares in Chebyshev points of [0, 5.4^2]. It is written in s = 2 x^2 / 5.4^2 - 1, where its coefficients are small.
inline Reg erf_of_sqrt2(Reg x) {
  constexpr float kEnd = 5.4f;
  constexpr float kP[] = {0.26185622811317444f,   -0.13065610826015472f, 0.09699918329715729f,   -0.07841362804174423f,
                          0.0642331913113594f,    -0.05149291083216667f, 0.03929027169942856f,   -0.027926653623580933f,
                          0.01930244080722332f,   -0.01343065220862627f, 0.0073177688755095005f, -0.002372841816395521f,
                          0.0017499260138720274f, -0.00205673067830503f, 0.000785699812695384f};
  const Reg c = Simd::max(Simd::set(-kEnd), Simd::min(Simd::set(kEnd), x));
  const Reg s = Simd::fma(Simd::mul(c, c), Simd::set(2.0f / (kEnd * kEnd)), Simd::set(-1.0f));
  Reg p = Simd::set(kP[14]);
#pragma GCC unroll 14
  for (int i = 13; i >= 0; --i) p = Simd::fma(p, s, Simd::set(kP[i]));
  const Reg one = Simd::set(1.0f), end = Simd::set(kEnd), y = Simd::mul(p, c);
  return Simd::where_ge(x, end, one, Simd::where_ge(Simd::set(-kEnd), x, Simd::set(-1.0f), y));
}

inline Reg gelu_erf(Reg x) {
  return Simd::mul(Simd::mul(Simd::set(0.5f), x), Simd::add(Simd::set(1.0f), erf_of_sqrt2(x)));
}

/// 0.5 x (1 + tanh(u)) = x * sigmoid(2 u), u = sqrt(2 / pi) (x + 0.044715 x^3).
inline Reg gelu_tanh(Reg x) {
  const Reg cubic = Simd::fma(Simd::mul(x, x), Simd::set(0.0713548162726f), Simd::set(1.5957691216057f));
  return Simd::mul(x, sigmoid(Simd::mul(x, cubic)));
}

/// (x + 3) / 6 within [0, 1].
inline Reg hard_sigmoid(Reg x) {
  const Reg y = Simd::fma(x, Simd::set(1.0f / 6.0f), Simd::set(0.5f));
  return Simd::max(Simd::zero(), Simd::min(Simd::set(1.0f), y));
}

}  // namespace
