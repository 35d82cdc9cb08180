// Soft maximum on the CPU, for rows that a mask may hide whole: ggml's gives NaN for those.
#pragma once

#include "kernels/kernels.h"

namespace etggml::graph {

/// y = softmax(x * scale + mask) of n numbers; mask may be nullptr. Zeros where every sum is -inf. `bounds`: the mask
/// is -inf or 0, and -inf hides a NaN, too.
using SoftMaxRow = void (*)(const float* x, const float* mask, bool bounds, float scale, int64_t n, float* y);

// nullptr where the compiler could not build them. Call only on a CPU that has the instructions.
SoftMaxRow soft_max_row_avx512();
SoftMaxRow soft_max_row_avx2();

/// The best for this CPU; there always is one.
SoftMaxRow soft_max_row();

ggml_tensor* soft_max(ggml_context* ctx, const SoftMaxArgs& args, SoftMaxRow row);

}  // namespace etggml::graph
