// Attention with few queries (decoding, short prompts, speculative steps) on the CPU.
//
// ggml's kernel for this walks all keys once for every query head, accumulates values of half precision in half
// precision, and works without prefetch although a head's keys lie kilobytes apart. Here the queries that share a key
// head (grouped-query attention) are served by one pass over it, in F32 throughout, a tile of positions at a time over
// all heads of a thread, so that memory is read once and in its order.
#pragma once

#include "graph/kernels/attention_tile.h"
#include "graph/kernels/kernels.h"

namespace etggml::graph {

/// Prompts with more queries are left to ggml, whose tiled kernel takes over there.
constexpr int64_t kAttentionMaxQueries = 63;

/// What attention() needs; must outlive every graph built with it.
struct AttentionKernel {
  AttentionTileFunctions tile;
  int threads = 1;  // that graphs will be computed with; other numbers give the same result, less evenly shared out
};

/// Result (F32 [Dv, H, T, B]) in one custom op, or two when the key heads do not divide evenly among the threads;
/// nullptr for what it does not take: many queries, other types than F16 / F32, heads that are not multiples of 16.
ggml_tensor* attention(ggml_context* ctx, const AttentionArgs& args, const AttentionKernel& kernel);

}  // namespace etggml::graph
