// The softmax of rows that may be nothing but -inf.
#pragma once

#include "graph/adapt.h"

namespace etggml::graph {

/// softmax(x * scale + mask), zeros for a row of -inf: a kernel of ours, or nodes of ggml.
ggml_tensor* soft_max_or_zero(NodeBuilder& b, const kernels::SoftMaxArgs& args);

}  // namespace etggml::graph
