// The operations that ggml-cpu 0.25.3 has for each storage type. The list is here because its supports_op accepts
// nearly everything, and its kernels then abort. The traits that would tell are in a module that is loaded at run time.
#pragma once

#include "ggml.h"

namespace etggml::graph {

/// The type activations are converted to for a dot product with rows of `weight`; GGML_TYPE_COUNT when there is no
/// kernel.
ggml_type cpu_vec_dot_type(ggml_type weight);
/// Whether mul_mat / mul_mat_id take it as the weight.
inline bool cpu_mul_mat(ggml_type weight) { return cpu_vec_dot_type(weight) != GGML_TYPE_COUNT; }
/// Whether get_rows takes it as the table (the result is F32, or I32 for an I32 table).
bool cpu_get_rows(ggml_type table);
/// Whether rows can be written in it from F32 (set_rows, cpy).
bool cpu_from_float(ggml_type type);

inline bool is_float(ggml_type t) { return t == GGML_TYPE_F32 || t == GGML_TYPE_F16 || t == GGML_TYPE_BF16; }

}  // namespace etggml::graph
