#include "util/scalar_type.h"

namespace etggml {

size_t scalar_size(int32_t dtype) {
  switch (dtype) {
    case kUint8:
    case kInt8:
    case kBool:
      return 1;
    case kInt16:
    case kHalf:
    case kBFloat16:
      return 2;
    case kInt32:
    case kFloat:
      return 4;
    case kInt64:
    case kDouble:
      return 8;
    default:
      return 0;
  }
}

const char* scalar_name(int32_t dtype) {
  switch (dtype) {
    case kUint8:
      return "uint8";
    case kInt8:
      return "int8";
    case kInt16:
      return "int16";
    case kInt32:
      return "int32";
    case kInt64:
      return "int64";
    case kHalf:
      return "float16";
    case kFloat:
      return "float32";
    case kDouble:
      return "float64";
    case kBool:
      return "bool";
    case kBFloat16:
      return "bfloat16";
    default:
      return "unknown";
  }
}

}  // namespace etggml
