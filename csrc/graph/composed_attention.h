// Attention of two products and a soft maximum, for devices whose fused kernel declines.
#pragma once

#include "graph/adapt.h"

namespace etggml::graph {

/// Tensors that composed_attention() makes at most.
constexpr size_t kAttentionTensors = 32;

/// What ggml_flash_attn_ext computes of these operands, in F32 throughout: F32 [Dv, H, T, B].
ggml_tensor* composed_attention(NodeBuilder& b, const AttentionArgs& args);

}  // namespace etggml::graph
