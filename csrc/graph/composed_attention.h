// Attention of two products and a softmax, for devices with a fused kernel that declines.
#pragma once

#include "graph/adapt.h"

namespace etggml::graph {

/// The result of ggml_flash_attn_ext for these operands, in F32 throughout: F32 [Dv, H, T, B].
ggml_tensor* composed_attention(NodeBuilder& b, const kernels::AttentionArgs& args);

}  // namespace etggml::graph
