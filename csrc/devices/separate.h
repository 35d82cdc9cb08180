// Gives every tensor of a graph memory of its own. Fused graphs need that. It also lets ggml-cuda use its own fusions,
// which it drops if an output shares memory with an input.
#pragma once

#include <vector>

#include "devices/contexts.h"
#include "ggml-backend.h"

namespace etggml::devices {

/// Places these tensors, none of which is a view or has memory, in one buffer of zeros. ETGGML_OUT_OF_MEMORY names the
/// size.
Result<BufferPtr> place_tensors(const std::vector<ggml_tensor*>& tensors, ggml_backend_buffer_type_t type);

/// The same for the graph's nodes, their sources and `extra`; then every view of a tensor that has memory.
Result<BufferPtr> place_separately(const TensorContexts& tensors, ggml_cgraph* graph,
                                   const std::vector<ggml_tensor*>& extra, ggml_backend_buffer_type_t type);

}  // namespace etggml::devices
