#include "engine/values.h"

#include <cstring>

#include "ggml-backend.h"
#include "ir/graph.h"
#include "util/scalar_type.h"

namespace etggml::engine {
namespace {

// The type that an element is read as. Block types can only be read by rows, which they always are: ggml has no view
// with a stride inside a block.
int32_t read_as(ggml_type type) {
  switch (type) {
    case GGML_TYPE_I8:
      return kInt8;
    case GGML_TYPE_I16:
      return kInt16;
    case GGML_TYPE_I32:
      return kInt32;
    case GGML_TYPE_I64:
      return kInt64;
    case GGML_TYPE_F64:
      return kDouble;
    default:
      return kFloat;
  }
}

void read_row(const ggml_tensor* t, const char* from, char* to, size_t element) {
  if (read_as(t->type) == kFloat && t->type != GGML_TYPE_F32) {
    const auto to_float = ggml_get_type_traits(t->type)->to_float;
    auto* out = reinterpret_cast<float*>(to);
    const size_t stride = t->nb[0];
    if (stride == ggml_type_size(t->type)) return to_float(from, out, t->ne[0]);
    for (int64_t i = 0; i < t->ne[0]; ++i) to_float(from + static_cast<size_t>(i) * stride, out + i, 1);
    return;
  }
  if (t->nb[0] == element) {
    std::memcpy(to, from, static_cast<size_t>(t->ne[0]) * element);
    return;
  }
  for (int64_t i = 0; i < t->ne[0]; ++i)
    std::memcpy(to + static_cast<size_t>(i) * element, from + static_cast<size_t>(i) * t->nb[0], element);
}

}  // namespace

Value symbol_value(uint32_t index, const int64_t& value) {
  Value v;
  v.kind = Value::Kind::Symbol;
  v.index = index;
  v.dtype = kInt64;
  v.data = &value;
  v.nbytes = sizeof value;
  return v;
}

Value input_value(uint32_t index, const ir::InputView& input) {
  Value v;
  v.kind = Value::Kind::Input;
  v.index = index;
  v.data = input.data;
  if (input.kind != ir::fb::InputKind_Tensor) {
    v.dtype = input.kind == ir::fb::InputKind_Int ? kInt64 : input.kind == ir::fb::InputKind_Double ? kDouble : kBool;
    v.nbytes = scalar_size(v.dtype);
    return v;
  }
  v.dtype = input.dtype;
  const int32_t most = static_cast<int32_t>(v.shape.size());
  const int32_t merged = input.rank > most ? input.rank - most : 0;
  v.rank = input.rank - merged;
  int64_t elements = 1, leading = 1;
  for (int32_t i = 0; i < input.rank; ++i) {
    elements *= input.dims[i];
    if (i < merged) {
      leading *= input.dims[i];
    } else {
      v.shape[static_cast<size_t>(i - merged)] = input.dims[i] * (i == merged ? leading : 1);
    }
  }
  v.nbytes = static_cast<size_t>(elements) * scalar_size(v.dtype);
  return v;
}

Result<Value> node_value(uint32_t index, const ggml_tensor* t, std::vector<uint8_t>* memory) {
  ggml_backend_buffer_t buffer = t->view_src != nullptr ? t->view_src->buffer : t->buffer;
  Value v;
  v.index = index;
  v.dtype = read_as(t->type);
  v.rank = GGML_MAX_DIMS;
  for (size_t i = 0; i < GGML_MAX_DIMS; ++i) v.shape[i] = t->ne[GGML_MAX_DIMS - 1 - i];
  const size_t element = scalar_size(v.dtype);
  v.nbytes = static_cast<size_t>(ggml_nelements(t)) * element;
  memory->resize(v.nbytes);
  v.data = memory->data();
  if (v.nbytes == 0) return v;
  if (buffer == nullptr || t->data == nullptr) return error(ETGGML_INTERNAL, "value '%s' has no memory", t->name);
  if (v.dtype == kFloat && t->type != GGML_TYPE_F32 && ggml_get_type_traits(t->type)->to_float == nullptr)
    return error(ETGGML_UNSUPPORTED, "value '%s' of ggml type %s cannot be read", t->name, ggml_type_name(t->type));
  std::vector<uint8_t> staging;
  const char* base = static_cast<const char*>(t->data);
  if (!ggml_backend_buffer_is_host(buffer)) {
    staging.resize(ggml_nbytes(t));
    ggml_backend_tensor_get(t, staging.data(), 0, staging.size());
    base = reinterpret_cast<const char*>(staging.data());
  }
  char* to = reinterpret_cast<char*>(memory->data());
  for (int64_t i3 = 0; i3 < t->ne[3]; ++i3) {
    for (int64_t i2 = 0; i2 < t->ne[2]; ++i2) {
      for (int64_t i1 = 0; i1 < t->ne[1]; ++i1) {
        const char* from = base + static_cast<size_t>(i1) * t->nb[1] + static_cast<size_t>(i2) * t->nb[2] +
                           static_cast<size_t>(i3) * t->nb[3];
        read_row(t, from, to, element);
        to += static_cast<size_t>(t->ne[0]) * element;
      }
    }
  }
  return v;
}

}  // namespace etggml::engine
