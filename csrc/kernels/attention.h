// Attention on the CPU, in place of ggml's FLASH_ATTN_EXT.
//
// For one query ggml walks all keys once for every query head, accumulates values of half precision in half precision,
// and works without prefetch although a head's keys lie kilobytes apart. For many it computes every score, those that
// the mask hides as well. Here the queries that share a key head (grouped-query attention) are served by one pass over
// it, in F32 throughout, a tile of positions at a time, and tiles that nobody sees are passed over.
#pragma once

#include "kernels/attention_block.h"
#include "kernels/attention_tile.h"
#include "kernels/kernels.h"

namespace etggml::graph {

/// What attention() needs; must outlive every graph built with it.
struct AttentionKernel {
  AttentionTileFunctions tile;
  AttentionBlockFunctions block;
  int threads = 1;  // that graphs will be computed with; other numbers give the same result, less evenly shared out
};

/// Result (F32 [Dv, H, T, B]) in one custom op, or two when few queries have key heads that do not divide evenly among
/// the threads; nullptr for what it does not take: types other than F16 / F32, heads that are not multiples of 16.
ggml_tensor* attention(ggml_context* ctx, const AttentionArgs& args, const AttentionKernel& kernel);

}  // namespace etggml::graph
