// Softmax on the CPU, for rows that a mask may hide completely: ggml's gives NaN for those.
#pragma once

#include "kernels/kernels.h"

namespace etggml::kernels {

/// y = softmax(x * scale + mask) of n numbers; mask may be nullptr. Zeros where every sum is -inf. `bounds`: the mask
/// is -inf or 0, and -inf hides a NaN, too.
using SoftMaxRow = void (*)(const float* x, const float* mask, bool bounds, float scale, int64_t n, float* y);

/// The best for this CPU; there always is one.
SoftMaxRow soft_max_row();

ggml_tensor* soft_max(ggml_context* ctx, const SoftMaxArgs& args, SoftMaxRow row);

}  // namespace etggml::kernels
