#include "engine/output.h"

#include <cmath>
#include <cstring>
#include <limits>
#include <type_traits>
#include <vector>

#include "ggml-backend.h"
#include "util/scalar_type.h"

namespace etggml::engine {
namespace {

// How one element is read and written: `Wide` is double for floats and int64_t for integers, so that neither loses
// anything.
struct F32 {
  using Raw = float;
  static double get(float v) { return v; }
  static float put(double v) { return static_cast<float>(v); }
};
struct F64 {
  using Raw = double;
  static double get(double v) { return v; }
  static double put(double v) { return v; }
};
struct F16 {
  using Raw = ggml_fp16_t;
  static double get(ggml_fp16_t v) { return ggml_fp16_to_fp32(v); }
  static ggml_fp16_t put(double v) { return ggml_fp32_to_fp16(static_cast<float>(v)); }
};
struct BF16 {
  using Raw = ggml_bf16_t;
  static double get(ggml_bf16_t v) { return ggml_bf16_to_fp32(v); }
  static ggml_bf16_t put(double v) { return ggml_fp32_to_bf16(static_cast<float>(v)); }
};
template <class T>
struct Int {
  using Raw = T;
  static int64_t get(T v) { return v; }
  static T put(int64_t v) { return static_cast<T>(v); }
  static T put(double v) {
    if (std::isnan(v)) return 0;
    if (v >= static_cast<double>(std::numeric_limits<T>::max())) return std::numeric_limits<T>::max();
    if (v <= static_cast<double>(std::numeric_limits<T>::min())) return std::numeric_limits<T>::min();
    return static_cast<T>(v);
  }
};
struct Bool {
  using Raw = uint8_t;
  template <class Wide>
  static uint8_t put(Wide v) {
    return v != 0;
  }
};

template <class From, class To>
void loop(const void* src, void* dst, int64_t count) {
  const auto* in = static_cast<const typename From::Raw*>(src);
  auto* out = static_cast<typename To::Raw*>(dst);
  for (int64_t i = 0; i < count; ++i) out[i] = To::put(From::get(in[i]));
}

template <class From>
bool to_dtype(const void* src, int32_t dtype, void* dst, int64_t count) {
  switch (dtype) {
    case kFloat:
      return loop<From, F32>(src, dst, count), true;
    case kDouble:
      return loop<From, F64>(src, dst, count), true;
    case kHalf:
      return loop<From, F16>(src, dst, count), true;
    case kBFloat16:
      return loop<From, BF16>(src, dst, count), true;
    case kInt64:
      return loop<From, Int<int64_t>>(src, dst, count), true;
    case kInt32:
      return loop<From, Int<int32_t>>(src, dst, count), true;
    case kInt16:
      return loop<From, Int<int16_t>>(src, dst, count), true;
    case kInt8:
      return loop<From, Int<int8_t>>(src, dst, count), true;
    case kUint8:
      return loop<From, Int<uint8_t>>(src, dst, count), true;
    case kBool:
      return loop<From, Bool>(src, dst, count), true;
    default:
      return false;
  }
}

}  // namespace

bool same_representation(ggml_type type, int32_t dtype) {
  switch (type) {
    case GGML_TYPE_F32:
      return dtype == kFloat;
    case GGML_TYPE_F16:
      return dtype == kHalf;
    case GGML_TYPE_BF16:
      return dtype == kBFloat16;
    case GGML_TYPE_F64:
      return dtype == kDouble;
    case GGML_TYPE_I64:
      return dtype == kInt64;
    case GGML_TYPE_I32:
      return dtype == kInt32;
    case GGML_TYPE_I16:
      return dtype == kInt16;
    case GGML_TYPE_I8:
      return dtype == kInt8;
    default:
      return false;
  }
}

Status convert_output(ggml_type type, const void* src, int32_t dtype, void* dst, int64_t count) {
  if (same_representation(type, dtype)) {
    std::memcpy(dst, src, static_cast<size_t>(count) * ggml_type_size(type));
    return ok_status();
  }
  bool known = false;
  switch (type) {
    case GGML_TYPE_F32:
      known = to_dtype<F32>(src, dtype, dst, count);
      break;
    case GGML_TYPE_F16:
      known = to_dtype<F16>(src, dtype, dst, count);
      break;
    case GGML_TYPE_BF16:
      known = to_dtype<BF16>(src, dtype, dst, count);
      break;
    case GGML_TYPE_I32:
      known = to_dtype<Int<int32_t>>(src, dtype, dst, count);
      break;
    case GGML_TYPE_I64:
      known = to_dtype<Int<int64_t>>(src, dtype, dst, count);
      break;
    default:
      break;
  }
  if (known) return ok_status();
  return error(ETGGML_UNSUPPORTED, "an output of ggml type %s cannot be returned as %s", ggml_type_name(type),
               scalar_name(dtype));
}

Status read_output(const ggml_tensor* tensor, int32_t dtype, void* dst, size_t dst_bytes) {
  const int64_t count = ggml_nelements(tensor);
  const size_t element = scalar_size(dtype);
  if (element == 0 || dst_bytes / element < static_cast<size_t>(count)) {
    return error(ETGGML_INTERNAL, "an output of %lld %s elements was given %zu bytes", static_cast<long long>(count),
                 scalar_name(dtype), dst_bytes);
  }
  if (!ggml_is_contiguous(tensor)) return error(ETGGML_INTERNAL, "output '%s' is not contiguous", tensor->name);
  ggml_backend_buffer_t buffer = tensor->view_src != nullptr ? tensor->view_src->buffer : tensor->buffer;
  if (buffer == nullptr || tensor->data == nullptr)
    return error(ETGGML_INTERNAL, "output '%s' has no memory", tensor->name);
  if (ggml_backend_buffer_is_host(buffer)) return convert_output(tensor->type, tensor->data, dtype, dst, count);
  if (same_representation(tensor->type, dtype)) {
    ggml_backend_tensor_get(tensor, dst, 0, ggml_nbytes(tensor));
    return ok_status();
  }
  std::vector<uint8_t> staging(ggml_nbytes(tensor));
  ggml_backend_tensor_get(tensor, staging.data(), 0, staging.size());
  return convert_output(tensor->type, staging.data(), dtype, dst, count);
}

}  // namespace etggml::engine
