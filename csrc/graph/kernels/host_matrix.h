// What our matrix kernels ask of a weight.
#pragma once

#include "ggml-backend.h"
#include "ggml.h"

namespace etggml::graph {

/// One contiguous matrix in plain host memory. Weights that ggml has repacked lie in buffers that are not host memory,
/// and their rows are not rows.
inline bool is_host_matrix(const ggml_tensor* w) {
  const ggml_backend_buffer_t buffer = w->view_src ? w->view_src->buffer : w->buffer;
  return w->ne[2] == 1 && w->ne[3] == 1 && ggml_is_contiguous(w) && buffer && ggml_backend_buffer_is_host(buffer);
}

}  // namespace etggml::graph
