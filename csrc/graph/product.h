// ggml's own matrix product, as exact as the weight.
#pragma once

#include "graph/adapt.h"

namespace etggml::graph {

/// w times x, accumulated in F32. Where w is F32, x is not rounded below F32 either, on devices that can be told:
/// tensor cores would otherwise read both as TF32, with 10 bits.
ggml_tensor* product(NodeBuilder& b, ggml_tensor* w, ggml_tensor* x);

}  // namespace etggml::graph
