// Nodes in a form that the device runs.
#pragma once

#include <functional>
#include <vector>

#include "graph/node_builder.h"

namespace etggml::graph {

using Sources = std::vector<ggml_tensor*>;
/// Makes a node, or a few, of these sources; called more than once. Captured tensors are used unchanged.
using Make = std::function<ggml_tensor*(ggml_context*, const Sources&)>;

/// Whether the device runs all that `make` makes of these sources. The CPU does: op functions have checked.
bool device_runs(const NodeBuilder& b, const Sources& src, const Make& make);

/// Tries make() with the sources as given, then contiguous, then contiguous F32 with the result converted back. If the
/// device runs none of these, returns the first, and Plan reports the node.
ggml_tensor* adapt(NodeBuilder& b, const Sources& src, const Make& make);

/// The number of the elements as F32: `t` itself, or a copy.
ggml_tensor* as_f32(ggml_context* ctx, ggml_tensor* t);

/// ggml_clamp() of this version writes into its source.
inline ggml_tensor* clamped(ggml_context* ctx, ggml_tensor* t, float min, float max) {
  return ggml_clamp(ctx, ggml_cont(ctx, t), min, max);
}

}  // namespace etggml::graph
