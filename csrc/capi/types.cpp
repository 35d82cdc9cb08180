// ggml types, quantising and dequantising.
#include "devices/types.h"

#include "capi/error.h"
#include "executorch_ggml.h"

using namespace etggml;        // NOLINT: this file is nothing but the boundary
using namespace etggml::capi;  // NOLINT

namespace {

Status check_type(int32_t type) {
  if (devices::type_known(type)) return ok_status();
  return error(ETGGML_UNSUPPORTED, "%d is not a type of this ggml (0..%d, some removed)", type, GGML_TYPE_COUNT - 1);
}

// Bytes of [rows, columns] and that they are there.
Status check_size(ggml_type type, int64_t rows, int64_t columns, size_t have, const char* what) {
  if (rows < 0 || columns < 0) {
    return error(ETGGML_INVALID_ARGUMENT, "[%lld, %lld] is not a shape", static_cast<long long>(rows),
                 static_cast<long long>(columns));
  }
  ETGGML_ASSIGN_OR_RETURN(const size_t row, devices::row_bytes(type, columns));
  size_t needed = 0;
  int64_t elements = 0;
  if (__builtin_mul_overflow(row, static_cast<size_t>(rows), &needed) ||
      __builtin_mul_overflow(rows, columns, &elements)) {
    return error(ETGGML_INVALID_ARGUMENT, "[%lld, %lld] does not fit into memory", static_cast<long long>(rows),
                 static_cast<long long>(columns));
  }
  if (have < needed) {
    return error(ETGGML_INVALID_ARGUMENT, "%s has %zu bytes; [%lld, %lld] of %s needs %zu", what, have,
                 static_cast<long long>(rows), static_cast<long long>(columns), ggml_type_name(type), needed);
  }
  return ok_status();
}

}  // namespace

etggml_status etggml_type(int32_t type, etggml_type_info* out) {
  return guard([&]() -> Status {
    if (out == nullptr) return null_pointer("out");
    if (out->struct_size < sizeof(etggml_type_info)) {
      return error(ETGGML_INVALID_ARGUMENT, "out->struct_size is %zu; set it to sizeof *out (at least %zu)",
                   out->struct_size, sizeof(etggml_type_info));
    }
    ETGGML_RETURN_IF_ERROR(check_type(type));
    const ggml_type t = static_cast<ggml_type>(type);
    out->name = ggml_type_name(t);
    out->block_size = ggml_blck_size(t);
    out->type_size = ggml_type_size(t);
    out->quantized = ggml_is_quantized(t);
    out->cpu_mul_mat = devices::cpu_can_multiply(t);
    return ok_status();
  });
}

etggml_status etggml_quantize(int32_t type, const float* src, int64_t rows, int64_t columns, const float* importance,
                              void* dst, size_t dst_size) {
  return guard([&]() -> Status {
    ETGGML_RETURN_IF_ERROR(check_type(type));
    const ggml_type t = static_cast<ggml_type>(type);
    ETGGML_RETURN_IF_ERROR(check_size(t, rows, columns, dst_size, "dst"));
    if (rows == 0 || columns == 0) return ok_status();
    if (src == nullptr) return null_pointer("src");
    if (dst == nullptr) return null_pointer("dst");
    return devices::from_float(t, src, rows, columns, importance, dst);
  });
}

etggml_status etggml_dequantize(int32_t type, const void* src, size_t src_size, int64_t rows, int64_t columns,
                                float* dst) {
  return guard([&]() -> Status {
    ETGGML_RETURN_IF_ERROR(check_type(type));
    const ggml_type t = static_cast<ggml_type>(type);
    ETGGML_RETURN_IF_ERROR(check_size(t, rows, columns, src_size, "src"));
    if (rows == 0 || columns == 0) return ok_status();
    if (src == nullptr) return null_pointer("src");
    if (dst == nullptr) return null_pointer("dst");
    return devices::to_float(t, src, rows * columns, dst);
  });
}
