#pragma once

#include <functional>

namespace etggml::runtime {

/// Receives the fraction 0..1 that is done; returning false cancels.
using ProgressFn = std::function<bool(double)>;

}  // namespace etggml::runtime
