// Products of many matrices of floats with one another on the CPU, which neither is a weight: attention over windows.
//
// ggml sums across lanes for every element of the result, and distributes rows to threads. Here the rows of one operand
// are packed into panels (panel.h). The thread that multiplies a matrix packs it.
#pragma once

#include "kernels/kernels.h"
#include "kernels/linear.h"

namespace etggml::kernels {

/// Takes F32 operands with contiguous rows, in plain host memory; nullptr for everything else.
ggml_tensor* batched(ggml_context* ctx, ggml_tensor* w, ggml_tensor* x, const LinearKernel& kernel);

}  // namespace etggml::kernels
