// Product of a quantised matrix with several rows (prompts, batches) on the CPU.
//
// ggml multiplies blocks of one row of weights with blocks of one row of activations, 32 bytes at a time. Here a panel
// of 32 rows is unpacked once for all rows of activations, and multiplied in registers that each hold 16 rows. So the
// byte products run near the peak of the core, for every quantised type. Activations are quantised as for ggml's Q8_0,
// also for types that ggml multiplies with blocks of 256: that is more precise.
#pragma once

#include <map>

#include "kernels/gemm_panel.h"
#include "kernels/kernels.h"

namespace etggml::kernels {

/// The functions that gemm() needs; must outlive every graph built with it.
struct GemmKernel {
  GemmFunctions functions;
  FinishFunction finish = nullptr;  // without it, products that something follows are refused
  int64_t min_rows = 8;             // of activations: below, unpacking costs more than it saves
};

/// Activations of one build that are packed already, by their tensor.
using PackedActivations = std::map<const ggml_tensor*, ggml_tensor*>;

/// Takes contiguous F32 with one contiguous quantised matrix in plain host memory; nullptr for everything else.
ggml_tensor* gemm(ggml_context* ctx, ggml_tensor* w, ggml_tensor* x, const Fused& fused, const GemmKernel& kernel,
                  PackedActivations& packed);

}  // namespace etggml::kernels
