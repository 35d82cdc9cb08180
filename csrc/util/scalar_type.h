// torch ScalarType numbers, as they travel through the IR, the C ABI and ExecuTorch.
#pragma once

#include <cstddef>
#include <cstdint>

namespace etggml {

enum ScalarType : int32_t {
  kUint8 = 0,
  kInt8 = 1,
  kInt16 = 2,
  kInt32 = 3,
  kInt64 = 4,
  kHalf = 5,
  kFloat = 6,
  kDouble = 7,
  kBool = 11,
  kBFloat16 = 15,
};

/// Bytes of one element, 0 for a type we do not know.
size_t scalar_size(int32_t dtype);

/// "float32", "int64", ...; "dtype <n>" is not produced here: unknown numbers give "unknown".
const char* scalar_name(int32_t dtype);

}  // namespace etggml
