// Special functions in double, by means that the kernels do not use.
#pragma once

#include <cmath>

/// By halving.
inline double inverse_erf(double y) {
  double low = -6.0, high = 6.0;
  for (int i = 0; i < 80; ++i) {
    const double middle = 0.5 * (low + high);
    (std::erf(middle) < y ? low : high) = middle;
  }
  return low;
}

inline double slope_of_lgamma(double x) {
  const double h = 1e-4 * x;
  return (std::lgamma(x + h) - std::lgamma(x - h)) / (2 * h);
}
