#include "devices/types.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <vector>

#include "devices/devices.h"
#include "util/interrupt.h"

namespace etggml::devices {
namespace {

// The name that the module exports, a macro's expansion (cmake/ggml_names.py).
#define ETGGML_TEXT_(name) #name
#define ETGGML_TEXT(name) ETGGML_TEXT_(name)
constexpr const char* kTraits = ETGGML_TEXT(ggml_get_type_traits_cpu);

// nullptr for numbers that ggml does not know, and when its CPU module is not there.
const ggml_type_traits_cpu* cpu_traits(ggml_type type) {
  const CpuTraitsFn function = type_known(type) ? cpu_traits_function() : nullptr;
  return function == nullptr ? nullptr : function(type);
}

// Converted between two looks at whether the host was interrupted; whole blocks of every type.
constexpr int64_t kElementsBetween = 1 << 16;

}  // namespace

CpuTraitsFn cpu_traits_function() {
  static std::atomic<CpuTraitsFn> known{nullptr};
  CpuTraitsFn function = known.load();
  if (function == nullptr) {  // not remembered when it fails: the module may load later, when there is memory
    function = reinterpret_cast<CpuTraitsFn>(cpu_module_symbol(kTraits));
    known = function;
  }
  return function;
}

bool type_known(int32_t number) {
  if (number < 0 || number >= GGML_TYPE_COUNT) return false;
  // Removed types keep a row in ggml's table, with a block size of 0.
  return ggml_get_type_traits(static_cast<ggml_type>(number))->blck_size > 0;
}

std::string type_name(int32_t number) {
  return type_known(number) ? ggml_type_name(static_cast<ggml_type>(number)) : format("type %d", number);
}

ggml_type cpu_vec_dot_type(ggml_type weight) {
  const ggml_type_traits_cpu* traits = cpu_traits(weight);
  return traits != nullptr && traits->vec_dot != nullptr ? traits->vec_dot_type : GGML_TYPE_COUNT;
}

bool can_get_rows(ggml_type type) { return type == GGML_TYPE_I32 || (cpu_can_multiply(type) && has_to_float(type)); }

bool cpu_can_write(ggml_type type) {
  return type == GGML_TYPE_F32 || (cpu_can_multiply(type) && cpu_traits(type)->from_float != nullptr);
}

bool has_to_float(ggml_type type) {
  return type_known(type) && (type == GGML_TYPE_F32 || ggml_get_type_traits(type)->to_float != nullptr);
}

bool has_from_float(ggml_type type) {
  if (type == GGML_TYPE_F32 || type == GGML_TYPE_F16 || type == GGML_TYPE_BF16) return true;
  // Q8_1 and Q8_K are ggml's formats for activations: no weight file uses them and ggml_quantize_chunk cannot write
  // them.
  return type_known(type) && ggml_is_quantized(type) && type != GGML_TYPE_Q8_1 && type != GGML_TYPE_Q8_K;
}

Result<size_t> row_bytes(ggml_type type, int64_t elements) {
  const int64_t block = ggml_blck_size(type);
  if (elements < 0 || elements % block != 0) {
    return error(ETGGML_INVALID_ARGUMENT, "%lld elements are not a multiple of %s's block of %lld",
                 static_cast<long long>(elements), ggml_type_name(type), static_cast<long long>(block));
  }
  if (elements / block > INT64_MAX / static_cast<int64_t>(ggml_type_size(type))) {
    return error(ETGGML_INVALID_ARGUMENT, "%lld elements do not fit into memory", static_cast<long long>(elements));
  }
  return ggml_row_size(type, elements);
}

Status to_float(ggml_type type, const void* src, int64_t elements, float* dst) {
  if (!has_to_float(type)) {
    return error(ETGGML_UNSUPPORTED, "ggml has no decoder for %s", type_name(type).c_str());
  }
  ETGGML_RETURN_IF_ERROR(row_bytes(type, elements).status());
  if (type == GGML_TYPE_F32) {
    std::memcpy(dst, src, static_cast<size_t>(elements) * sizeof(float));
    return ok_status();
  }
  const auto decode = ggml_get_type_traits(type)->to_float;
  const size_t bytes = ggml_row_size(type, kElementsBetween);
  InterruptClock interrupts;
  for (int64_t at = 0; at < elements; at += kElementsBetween) {
    if (interrupts.interrupted()) return error(ETGGML_CANCELLED, "decoding numbers was interrupted");
    const auto* from = static_cast<const char*>(src) + static_cast<size_t>(at / kElementsBetween) * bytes;
    decode(from, dst + at, std::min(kElementsBetween, elements - at));
  }
  return ok_status();
}

Status from_float(ggml_type type, const float* src, int64_t rows, int64_t columns, const float* importance, void* dst) {
  if (!has_from_float(type)) {
    return error(ETGGML_UNSUPPORTED, "ggml cannot write %s", type_name(type).c_str());
  }
  ETGGML_RETURN_IF_ERROR(row_bytes(type, columns).status());
  if (rows == 0 || columns == 0) return ok_status();
  std::vector<float> ones;
  if (ggml_is_quantized(type)) {
    for (int64_t i = 0; i < rows * columns; ++i) {
      if (!std::isfinite(src[i])) {
        return error(ETGGML_RANGE, "element [%lld, %lld] is %g: NaN and infinity cannot be quantised to %s",
                     static_cast<long long>(i / columns), static_cast<long long>(i % columns), src[i],
                     ggml_type_name(type));
      }
    }
    for (int64_t i = 0; importance != nullptr && i < columns; ++i) {
      if (!std::isfinite(importance[i]) || importance[i] < 0) {
        return error(ETGGML_RANGE, "importance[%lld] is %g: it must be finite and not negative",
                     static_cast<long long>(i), importance[i]);
      }
    }
    if (importance == nullptr && ggml_quantize_requires_imatrix(type)) {
      ones.assign(static_cast<size_t>(columns), 1.0f);
      importance = ones.data();
    }
  }
  const int64_t step = std::max<int64_t>(1, kElementsBetween / columns);
  InterruptClock interrupts;
  for (int64_t row = 0; row < rows; row += step) {
    if (interrupts.interrupted()) return error(ETGGML_CANCELLED, "quantising was interrupted");
    ggml_quantize_chunk(type, src, dst, row * columns, std::min(step, rows - row), columns, importance);
  }
  return ok_status();
}

Status convert_rows(ggml_type from, const void* src, ggml_type to, void* dst, int64_t rows, int64_t columns) {
  ETGGML_ASSIGN_OR_RETURN(const size_t src_row, row_bytes(from, columns));
  ETGGML_ASSIGN_OR_RETURN(const size_t dst_row, row_bytes(to, columns));
  if (from == to) {
    std::memcpy(dst, src, src_row * static_cast<size_t>(rows));
    return ok_status();
  }
  // Some rows at a time, so that converting a huge matrix does not need its F32 form in memory as well.
  const int64_t step = std::max<int64_t>(1, kElementsBetween / std::max<int64_t>(1, columns));
  std::vector<float> buffer(static_cast<size_t>(std::min(step, rows) * columns));
  InterruptClock interrupts;
  for (int64_t row = 0; row < rows; row += step) {
    if (interrupts.interrupted()) return error(ETGGML_CANCELLED, "converting weights was interrupted");
    const int64_t n = std::min(step, rows - row);
    ETGGML_RETURN_IF_ERROR(to_float(from, static_cast<const char*>(src) + src_row * row, n * columns, buffer.data()));
    ETGGML_RETURN_IF_ERROR(from_float(to, buffer.data(), n, columns, nullptr, static_cast<char*>(dst) + dst_row * row));
  }
  return ok_status();
}

}  // namespace etggml::devices
