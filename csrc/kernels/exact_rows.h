// Rows of activations that the types which dot products convert them to cannot hold.
//
// Blocks of Q8_0 have a scale of half precision: from 8.3e6 on it is infinite, and below 1e-2 it loses digits until
// nothing is left. NaN does not survive the conversion to integers. Such rows are scaled by a power of two first, or,
// where they are not finite, multiplied with the numbers that the weights stand for.
#pragma once

#include "ggml.h"

namespace etggml::kernels {

enum class RowKind {
  kPlain,   // as it is
  kScaled,  // finite, but too large or too small
  kExact    // NaN or infinite
};

/// How to treat n numbers that a dot product converts to `type` (a vec_dot_type).
RowKind row_kind(const float* x, int64_t n, ggml_type type);

/// Whether row_kind() may be anything but kPlain.
bool can_be_odd(ggml_type type);

/// The power of two that brings the largest of n finite numbers, not all zero, between 64 and 128.
double row_scale(const float* x, int64_t n);

/// out[r] = row r of the matrix times x, from <= r < to, with weights as numbers and sums in double. `row_bytes`: from
/// row to row of `type`.
void exact_rows(ggml_type type, const char* matrix, size_t row_bytes, const float* x, int64_t n, int64_t from,
                int64_t to, float* out);

/// y = w * x by ggml (with ids: mul_mat_id) with rows that are not plain put right, in place; y itself where all are.
ggml_tensor* mended(ggml_context* ctx, ggml_tensor* y, ggml_tensor* w, ggml_tensor* x, ggml_tensor* ids);

}  // namespace etggml::kernels
