#include "kernels/special_functions.h"

#include <cmath>
#include <limits>

namespace etggml::kernels {
namespace {

constexpr double kPi = 3.14159265358979323846;
constexpr double kTwoBySqrtPi = 1.12837916709551257390;
constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

// From here on the series of digamma and lgamma have the digits of double.
constexpr double kSeries = 10.0;

/// log(gamma(x)) for x >= kSeries: Stirling's series.
double log_gamma_of_large(double x) {
  const double square = 1.0 / (x * x);
  const double series =
      (1.0 / 12.0 - square * (1.0 / 360.0 - square * (1.0 / 1260.0 - square * (1.0 / 1680.0 - square / 1188.0)))) / x;
  return (x - 0.5) * std::log(x) - x + 0.5 * std::log(2.0 * kPi) + series;
}

/// For x > 0. gamma(x) = gamma(x + n) / (x (x + 1) ... (x + n - 1)). The C library's function writes a global.
double log_gamma(double x) {
  if (x >= kSeries) return log_gamma_of_large(x);
  double product = 1.0;
  for (; x < kSeries; x += 1.0) product *= x;
  return log_gamma_of_large(x) - std::log(product);
}

/// sin(pi x), exact at whole numbers.
double sin_pi(double x) { return std::sin(kPi * (x - 2.0 * std::floor(0.5 * x + 0.5))); }

/// For x > 0.
double digamma_of_positive(double x) {
  double sum = 0.0;
  for (; x < kSeries; x += 1.0) sum -= 1.0 / x;
  const double square = 1.0 / (x * x);
  const double series =
      square * (1.0 / 12.0 -
                square * (1.0 / 120.0 -
                          square * (1.0 / 252.0 - square * (1.0 / 240.0 - square * (1.0 / 132.0 - square / 47.4)))));
  return sum + std::log(x) - 0.5 / x - series;
}

}  // namespace

/// Winitzki's approximation, which is right to three digits, and Halley's steps, each of which triples them.
float erfinv(float value) {
  const double y = std::fabs(static_cast<double>(value));
  if (!(y <= 1.0)) return static_cast<float>(kNaN);
  if (y == 1.0) return static_cast<float>(std::copysign(kInfinity, static_cast<double>(value)));
  if (y == 0.0) return value;
  constexpr double kA = 0.147;
  const double log = std::log1p(-y * y), half = 2.0 / (kPi * kA) + 0.5 * log;
  double x = std::sqrt(-log / kA / (std::sqrt(half * half - log / kA) + half));
  for (int i = 0; i < 3; ++i) {
    const double error = y < 0.5 ? std::erf(x) - y : (1.0 - y) - std::erfc(x);
    const double step = error / (kTwoBySqrtPi * std::exp(-x * x));
    x -= step / (1.0 + x * step);
  }
  return static_cast<float>(std::copysign(x, static_cast<double>(value)));
}

float lgamma_of(float value) {
  const double x = value;
  if (std::isnan(x)) return value;
  if (std::isinf(x)) return static_cast<float>(kInfinity);
  if (x == 1.0 || x == 2.0) return 0.0f;
  if (x > 0.0) return static_cast<float>(log_gamma(x));
  if (x == std::floor(x)) return static_cast<float>(kInfinity);
  // gamma(x) gamma(1 - x) = pi / sin(pi x)
  return static_cast<float>(std::log(kPi / std::fabs(sin_pi(x))) - log_gamma(1.0 - x));
}

float digamma(float value) {
  const double x = value;
  if (std::isnan(x)) return value;
  if (x == 0.0) return static_cast<float>(std::copysign(kInfinity, -x));
  if (x > 0.0) return static_cast<float>(digamma_of_positive(x));
  if (x == std::floor(x)) return static_cast<float>(kNaN);  // -infinity, too
  const double part = x - std::trunc(x);
  return static_cast<float>(digamma_of_positive(1.0 - x) - kPi / std::tan(kPi * part));
}

}  // namespace etggml::kernels
