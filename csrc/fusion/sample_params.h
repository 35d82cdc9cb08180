// The parameters with which a device draws a token, as the sampler hands them over.
#pragma once

#include <cstdint>

namespace etggml::cuda {

/// A draw's parameters besides the logits. They are memory outside the descriptor, so a captured graph serves any.
struct SampleParams {
  double uniform;   // [0, 1)
  double scale;     // 1 / temperature
  double top_p;     // (0, 1]
  float log_min_p;  // natural logarithm; -infinity: off
  int32_t top_k;    // 1 to kMaxTopK
};
constexpr int kMaxTopK = 1024;

}  // namespace etggml::cuda
