// Product of a matrix of floats with the rows of x on the CPU, with bias and activation.
//
// ggml multiplies rows of weights with rows of activations and sums the lanes of a register for every element. fp16
// weights make it round the activations to fp16. Here the activations are packed once into panels (panel.h), shared by
// all products of the same x, and everything is computed in F32.
#pragma once

#include <map>

#include "kernels/kernels.h"
#include "kernels/panel.h"

namespace etggml::kernels {

struct LinearKernel {
  PanelFunctions functions;
  int64_t min_rows = 2;  // of x: one row is a matter of memory bandwidth alone
};

/// Panels of one build, by the tensor they hold.
using PackedPanels = std::map<const ggml_tensor*, ggml_tensor*>;

/// Takes contiguous F32 x with one contiguous matrix of F32, F16 or BF16 in plain host memory; nullptr for everything
/// else.
ggml_tensor* linear(ggml_context* ctx, ggml_tensor* w, ggml_tensor* x, const Fused& fused, const LinearKernel& kernel,
                    PackedPanels& packed);

}  // namespace etggml::kernels
