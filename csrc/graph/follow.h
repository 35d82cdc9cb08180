// The epilogue of a product (Epilogue in the schema), for kernels of ours and as ggml's own nodes.
#pragma once

#include "graph/node_builder.h"
#include "kernels/kernels.h"

namespace etggml::graph {

/// Bias (src[2], if there is one: F32 [count]) and epilogue of a node. A typed error when the bias is something else.
Result<kernels::Fused> fused_of(NodeBuilder& b, const fb::Epilogue* then, int64_t count);

/// clamp(activation(y + bias)) as ggml's nodes; bias may be nullptr, else it repeats into y.
ggml_tensor* follow(NodeBuilder& b, ggml_tensor* y, ggml_tensor* bias, const kernels::Epilogue& epilogue);

/// GELU by tanh without the fp16 table that ggml's CPU kernel reads: x * sigmoid(2 sqrt(2 / pi) (x + 0.044715 x^3)).
/// x: contiguous F32.
ggml_tensor* gelu_tanh(ggml_context* ctx, ggml_tensor* x);

}  // namespace etggml::graph
