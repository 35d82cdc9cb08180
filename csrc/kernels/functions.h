// Elementwise functions on the CPU of which ggml's kernels ignore NaN or lose small results.
#pragma once

#include "kernels/kernels.h"

namespace etggml::kernels {

/// Takes contiguous F32 x; nullptr for everything else.
ggml_tensor* function(ggml_context* ctx, const FunctionArgs& args, ggml_tensor* x);

}  // namespace etggml::kernels
