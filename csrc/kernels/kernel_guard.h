// Memory that runs out inside a kernel of ours. It may happen in a worker thread, where an exception ends the process,
// so it is noted there and asked for after the graph has run.
#pragma once

#include <exception>

#include "ggml.h"

namespace etggml::kernels {

/// Notes that the result of this node is worth nothing. From any thread.
void note_failed_kernel(const ggml_tensor* node);

/// Whether a node of this graph was noted since it was last asked; forgets it. Costs nothing when none was.
bool take_failed_kernel(const ggml_cgraph* graph);

/// A kernel as ggml calls it (ggml_custom_op_t) around one that may throw.
template <void (*Kernel)(ggml_tensor*, int, int, void*)>
void guarded_kernel(ggml_tensor* y, int thread, int threads, void* user) {
  try {
    Kernel(y, thread, threads, user);
  } catch (const std::exception&) {  // std::bad_alloc: our kernels throw nothing else
    note_failed_kernel(y);
  }
}

}  // namespace etggml::kernels
