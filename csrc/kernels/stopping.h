// Kernels that end early: between two pieces of its work each asks whether the call is to end.
#pragma once

#include "ggml.h"
#include "util/stop.h"

namespace etggml::kernels {

/// Sets the object that a kernel of ours asks. Custom nodes do not use `extra` otherwise.
inline void set_stop(ggml_tensor* node, Stop* stop) { node->extra = stop; }

/// After true the kernel returns at once. Its node is worth nothing then, nor are counters in it: who computed the
/// graph drops it. Costs a few nanoseconds, so a piece of work should take a microsecond or more.
inline bool stopped(const ggml_tensor* node, int thread) {
  auto* stop = static_cast<Stop*>(node->extra);
  return stop != nullptr && stop->asked(thread);
}

}  // namespace etggml::kernels
