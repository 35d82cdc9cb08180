// The two ways attention() goes, and how both make their nodes.
#pragma once

#include <array>

#include "kernels/attention.h"
#include "kernels/attention_problem.h"

namespace etggml::kernels {

/// Few queries share a key head: keys and values are read in place.
ggml_tensor* attention_few(ggml_context* ctx, const AttentionArgs& args, const AttentionKernel& kernel);
/// Many queries: keys and values are converted first, a tile at a time.
ggml_tensor* attention_many(ggml_context* ctx, const AttentionArgs& args, const AttentionKernel& kernel);

/// A custom op with the operands and then `extra` as its sources, readable through AttentionProblem. ne all 0: the
/// shape of the result of attention.
ggml_tensor* attention_node(ggml_context* ctx, const AttentionArgs& args, const char* name, int64_t chunks,
                            ggml_tensor* extra, ggml_custom_op_t compute, void* user,
                            std::array<int64_t, 4> ne = {0, 0, 0, 0});

}  // namespace etggml::kernels
