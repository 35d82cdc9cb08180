// ggml's own matrix products, as exact as the weight.
#pragma once

#include "graph/adapt.h"

namespace etggml::graph {

/// w times x, accumulated in F32. Where w is F32, x is not rounded below F32 either, on devices that can be told:
/// tensor cores would otherwise read both as TF32, with 10 bits.
ggml_tensor* product(NodeBuilder& b, ggml_tensor* w, ggml_tensor* x);

/// The same of the experts that `ids` names for each column (ggml_mul_mat_id).
ggml_tensor* expert_product(NodeBuilder& b, ggml_tensor* experts, ggml_tensor* x, ggml_tensor* ids);

}  // namespace etggml::graph
