// Operations on whole rows on the CPU: broadcasts of one number per row, and row means. Examples are a scale and a
// shift for each channel of an image, and the gate of squeeze-and-excitation.
//
// ggml divides for every element to find its number, and sums rows on one thread.
#pragma once

#include "kernels/kernels.h"

namespace etggml::kernels {

/// Takes contiguous F32 x, and contiguous F32 y with elements that are the same all along a row of x; nullptr for
/// everything else.
ggml_tensor* per_row(ggml_context* ctx, RowOp op, ggml_tensor* x, ggml_tensor* y);

/// Takes contiguous F32 x; nullptr for everything else.
ggml_tensor* row_means(ggml_context* ctx, ggml_tensor* x);

}  // namespace etggml::kernels
