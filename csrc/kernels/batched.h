// Products of many matrices of floats with one another on the CPU, which neither is a weight: attention over windows.
//
// ggml takes a sum across lanes for every element of the result and shares out rows; here the rows of one operand are
// packed into panels (panel.h), each matrix by the thread that multiplies it.
#pragma once

#include "kernels/kernels.h"
#include "kernels/linear.h"

namespace etggml::graph {

/// Takes F32 operands whose rows are contiguous, in plain host memory; nullptr for everything else.
ggml_tensor* batched(ggml_context* ctx, ggml_tensor* w, ggml_tensor* x, const LinearKernel& kernel);

}  // namespace etggml::graph
