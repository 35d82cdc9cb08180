// The answers of ggml-cuda's supports_op, for machines without it: tests and developers see on the CPU which nodes a
// CUDA device gets (EXECUTORCH_GGML_FORMS=cuda).
#pragma once

#include "ggml.h"

namespace etggml::graph {

/// The answers of ggml 0.20.0 with our patches for the ops that graph/ops can emit, on a chip with tensor cores.
bool cuda_supports(const ggml_tensor* node);

}  // namespace etggml::graph
