// Recurrent layers as nodes, for devices and CPUs without a kernel of ours.
#pragma once

#include "graph/node_builder.h"

namespace etggml::graph {

/// The result that the schema promises for Recurrence.
ggml_tensor* unrolled(NodeBuilder& b, const kernels::RecurrenceArgs& args);

}  // namespace etggml::graph
