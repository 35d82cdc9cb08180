// The facts about a named state.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

#include "ggml.h"

namespace etggml::engine {

struct StateInfo {
  std::string name;
  ggml_type type = GGML_TYPE_F32;
  std::array<int64_t, 4> ne{1, 1, 1, 1};
  size_t bytes = 0;
  bool kv_cache = false;  ///< entries belong to positions: going back needs no reset
};

}  // namespace etggml::engine
