// Buffers that a program changes and that lie in ExecuTorch's planned memory, not in a delegate.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "util/json.h"
#include "util/status.h"

namespace etggml::program {

struct PlannedState {
  std::string name;  ///< of the buffer; "" when the file does not say
  int32_t dtype = 0;
  std::vector<int64_t> shape;
  size_t bytes = 0;
  size_t buffer = 0;  ///< which of the method's planned buffers
  uint64_t offset = 0;
};

/// By method, in the order of its values.
using PlannedStates = std::map<std::string, std::vector<PlannedState>>;

/// data: a .pte that ExecuTorch has verified. A state is a tensor with a planned place and an initial value; without
/// the latter nothing tells it from an intermediate result. ETGGML_FORMAT for a place that cannot be.
Result<PlannedStates> read_planned_states(const void* data, const std::string& path);

/// Gives states the names that the exporter noted: an object of arrays, by method. ETGGML_FORMAT when it is about other
/// states.
Status name_planned_states(const Json& names, const std::string& path, PlannedStates* states);

}  // namespace etggml::program
