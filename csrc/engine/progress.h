#pragma once

#include <functional>

namespace etggml::engine {

/// Receives the fraction 0..1 that is done; returning false cancels.
using ProgressFn = std::function<bool(double)>;

}  // namespace etggml::engine
