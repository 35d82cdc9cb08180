// Sums of each row up to each element, kept in double as torch keeps them: ggml's kernel keeps them in F32.
#pragma once

#include "ggml.h"

namespace etggml::kernels {

/// F32 of x's shape along ne[0]; nullptr if x is not F32 with dense rows.
ggml_tensor* running_sum(ggml_context* ctx, ggml_tensor* x);

}  // namespace etggml::kernels
