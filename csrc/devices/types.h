// Facts about ggml types, and conversions between them that check before they call: ggml aborts on bad arguments.
#pragma once

#include <cstddef>
#include <cstdint>

#include "ggml-cpu.h"
#include "ggml.h"
#include "util/status.h"

namespace etggml::devices {

/// `number` names a type this ggml knows (numbers of removed types are not).
bool type_known(int32_t number);
/// "q4_K", or "type 77".
std::string type_name(int32_t number);
/// ggml_get_type_traits_cpu of the loaded CPU module, nullptr if it cannot be found.
using CpuTraitsFn = const ggml_type_traits_cpu* (*)(ggml_type);
CpuTraitsFn cpu_traits_function();
/// The type that activations are converted to for a dot product with rows of `weight`, by the CPU module's own table;
/// GGML_TYPE_COUNT when it has no kernel. ggml-cpu's supports_op says yes to nearly everything and then aborts.
ggml_type cpu_vec_dot_type(ggml_type weight);
/// ggml's CPU backend can multiply a matrix of this type.
inline bool cpu_can_multiply(ggml_type type) { return cpu_vec_dot_type(type) != GGML_TYPE_COUNT; }
/// get_rows can read rows of this type (into F32, or I32 from I32).
bool can_get_rows(ggml_type type);
/// The CPU backend can write rows of this type from F32 (set_rows, cpy).
bool cpu_can_write(ggml_type type);
inline bool is_float(ggml_type t) { return t == GGML_TYPE_F32 || t == GGML_TYPE_F16 || t == GGML_TYPE_BF16; }
/// to_float() / from_float() below know the type.
bool has_to_float(ggml_type type);
bool has_from_float(ggml_type type);

/// Bytes of `elements` contiguous elements; ETGGML_INVALID_ARGUMENT when they are not whole blocks.
Result<size_t> row_bytes(ggml_type type, int64_t elements);

/// Rows of `type` -> F32. `elements` must be whole blocks. ETGGML_UNSUPPORTED for a type without a decoder.
Status to_float(ggml_type type, const void* src, int64_t elements, float* dst);

/// F32 [rows, columns] -> `type`. importance: F32 [columns] or nullptr (types that need one get ones). Quantised
/// targets refuse NaN and infinity with ETGGML_RANGE (ggml would abort on some); types that cannot be written are
/// ETGGML_UNSUPPORTED.
Status from_float(ggml_type type, const float* src, int64_t rows, int64_t columns, const float* importance, void* dst);

/// [rows, columns] of one type -> another, through F32 unless they are equal.
Status convert_rows(ggml_type from, const void* src, ggml_type to, void* dst, int64_t rows, int64_t columns);

}  // namespace etggml::devices
