// Values of a call while it runs: the arguments of the delegate and the result of each node, for finding the first
// wrong one.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <vector>

#include "ggml.h"
#include "util/status.h"

namespace etggml::ir {
struct InputView;
}

namespace etggml::engine {

/// One value, row-major and contiguous, in host memory that lives as long as the callback.
struct Value {
  enum class Kind { Symbol, Input, Node };
  Kind kind = Kind::Node;
  uint32_t index = 0;  ///< of the symbol, input or node in the payload
  int32_t dtype = 0;   ///< torch ScalarType; int64 for a symbol
  int32_t rank = 0;
  std::array<int64_t, 8> shape{};  ///< torch order; an input of higher rank has its leading dimensions merged
  const void* data = nullptr;
  size_t nbytes = 0;
};

/// method: its name; delegate: index among our delegates of that method.
using WatchFn = std::function<void(const char* method, size_t delegate, const Value& value)>;

Value symbol_value(uint32_t index, const int64_t& value);
Value input_value(uint32_t index, const ir::InputView& input);

/// Elements of a tensor on any device, views of any strides included. Floats and block types become float32, integers
/// keep their type. `memory` holds the elements. ETGGML_INTERNAL for a tensor without memory, ETGGML_UNSUPPORTED for a
/// type that cannot be read.
Result<Value> node_value(uint32_t index, const ggml_tensor* tensor, std::vector<uint8_t>* memory);

}  // namespace etggml::engine
