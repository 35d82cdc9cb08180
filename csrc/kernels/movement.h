// Movement of many small runs on the CPU: joining two tensors, and picking rows of a few elements by number (which is
// how images are resized along their lines).
//
// ggml finds the place of every element, or calls a function for every row, anew.
#pragma once

#include "kernels/kernels.h"

namespace etggml::kernels {

/// x and y joined along `dim`. Takes contiguous tensors of one type without blocks; nullptr for everything else.
ggml_tensor* concat(ggml_context* ctx, ggml_tensor* x, ggml_tensor* y, int dim);

/// ggml_get_rows of short rows. Takes contiguous F32 and contiguous I32 numbers; nullptr for everything else.
ggml_tensor* gather(ggml_context* ctx, ggml_tensor* table, ggml_tensor* ids);

}  // namespace etggml::kernels
