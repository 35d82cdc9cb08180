// Sampling the next token on the device, so that the logits need not leave it.
#pragma once

#include <cstdint>

#include "fusion/descriptors.h"

namespace etggml::engine {

enum class Sampling : int64_t { None, Greedy, Sample };

/// Of the calls to come.
struct SamplingRequest {
  Sampling how = Sampling::None;
  bool outputs = false;            ///< the outputs are wanted as well: they come along instead of staying behind
  cuda::SampleParams params = {};  ///< for Sampling::Sample
};

struct SampledToken {
  SamplingRequest wanted;
  bool made = false;  ///< by the last call
  int32_t token = 0;  ///< see cuda::ArgmaxDesc for negative values
};

}  // namespace etggml::engine
