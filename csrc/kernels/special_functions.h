// Functions that neither ggml nor every C library has, to the last digit of F32: computed in double. NaN, infinities
// and poles as torch has them.
#pragma once

namespace etggml::kernels {

/// x with erf(x) = y; NaN outside [-1, 1].
float erfinv(float y);
/// log(|gamma(x)|).
float lgamma_of(float x);
/// The derivative of lgamma: NaN at -1, -2, ...; an infinity at 0, of the other sign.
float digamma(float x);

}  // namespace etggml::kernels
