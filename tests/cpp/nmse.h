// The error of a result as one number, as executorch_ggml/analysis/nmse.py defines it for Python.
#pragma once

#include <cmath>
#include <limits>
#include <vector>

/// sum((got - want)^2) / sum(want^2); infinity when sizes differ or an element of `got` is not finite.
inline double nmse(const std::vector<float>& got, const std::vector<float>& want) {
  if (got.size() != want.size()) return std::numeric_limits<double>::infinity();
  double error = 0, norm = 1e-30;
  for (size_t i = 0; i < got.size(); ++i) {
    if (!std::isfinite(got[i])) return std::numeric_limits<double>::infinity();
    error += (double(got[i]) - want[i]) * (double(got[i]) - want[i]);
    norm += double(want[i]) * want[i];
  }
  return error / norm;
}
