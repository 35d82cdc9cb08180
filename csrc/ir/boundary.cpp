#include "ir/boundary.h"

#include "util/scalar_type.h"

namespace etggml::ir {

int32_t boundary_dtype(const fb::Input& input) {
  switch (input.kind()) {
    case fb::InputKind_Int:
      return kInt64;
    case fb::InputKind_Double:
      return kDouble;
    case fb::InputKind_Bool:
      return kBool;
    default:
      return input.dtype();
  }
}

bool can_convert(int32_t dtype, ggml_type type, bool mask) {
  if (scalar_size(dtype) == 0) return false;
  if (mask) return dtype == kBool && (type == GGML_TYPE_F16 || type == GGML_TYPE_F32);
  if (type == GGML_TYPE_F32 || type == GGML_TYPE_F16 || type == GGML_TYPE_BF16) return true;
  const bool real = dtype == kHalf || dtype == kFloat || dtype == kDouble || dtype == kBFloat16;
  return !real && (type == GGML_TYPE_I8 || type == GGML_TYPE_I16 || type == GGML_TYPE_I32 || type == GGML_TYPE_I64);
}

}  // namespace etggml::ir
