// The meta data of an input or output of a method.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace etggml::program {

struct ValueInfo {
  enum class Kind { Tensor, Int, Double, Bool, None, Other };
  std::string name;
  Kind kind = Kind::None;
  int32_t dtype = 0;           ///< torch ScalarType; Tensor only
  std::vector<int64_t> bound;  ///< largest size of each dimension; Tensor only
  std::vector<uint8_t> order;  ///< dimensions from the outermost to the innermost in memory; Tensor only
};

}  // namespace etggml::program
