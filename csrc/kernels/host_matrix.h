// Conditions of our matrix kernels on a weight.
#pragma once

#include "ggml-backend.h"
#include "ggml.h"

namespace etggml::kernels {

/// Plain host memory. Weights that ggml has repacked lie in buffers that are not, and their rows are not rows.
inline bool is_host_memory(const ggml_tensor* w) {
  const ggml_backend_buffer_t buffer = w->view_src ? w->view_src->buffer : w->buffer;
  return buffer && ggml_backend_buffer_is_host(buffer);
}

/// One contiguous matrix in plain host memory.
inline bool is_host_matrix(const ggml_tensor* w) {
  return w->ne[2] == 1 && w->ne[3] == 1 && ggml_is_contiguous(w) && is_host_memory(w);
}

}  // namespace etggml::kernels
