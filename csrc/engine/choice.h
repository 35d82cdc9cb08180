// The next token, chosen where the logits are, so that they need not leave the device.
#pragma once

#include <cstdint>

#include "fusion/sample_params.h"

namespace etggml::runtime {

enum class Choosing : int64_t { None, Greedy, Sample };

/// Of the calls to come.
struct ChoiceRequest {
  Choosing how = Choosing::None;
  bool outputs = false;            ///< the outputs are wanted as well: they come along instead of staying behind
  cuda::SampleParams params = {};  ///< for Choosing::Sample
};

struct Choice {
  ChoiceRequest wanted;
  bool made = false;  ///< by the last call
  int32_t token = 0;  ///< cuda::ArgmaxDesc says what negative values mean
};

}  // namespace etggml::runtime
