// Attention on the CPU, in place of ggml's FLASH_ATTN_EXT.
//
// For one query ggml walks all keys once for every query head. It accumulates fp16 values in fp16, and works without
// prefetch although the keys of a head lie kilobytes apart. For many queries it computes every score, hidden ones too.
// Here the queries that share a key head (grouped-query attention) are served by one pass over it. All sums are F32. A
// pass works on a tile of positions at a time, and skips tiles that are hidden from all queries.
#pragma once

#include "kernels/attention_block.h"
#include "kernels/attention_tile.h"
#include "kernels/kernels.h"

namespace etggml::kernels {

/// The functions of attention(); must outlive every graph built with it.
struct AttentionKernel {
  AttentionTileFunctions tile;
  AttentionBlockFunctions block;
  int threads = 1;  // that graphs will be computed with; other numbers give the same result, less evenly shared out
};

/// The result (F32 [Dv, H, T, B]) in one custom op. It is two ops if few queries have key heads that do not divide
/// evenly among the threads. nullptr for types other than F16 / F32, and heads that are not multiples of 16.
ggml_tensor* attention(ggml_context* ctx, const AttentionArgs& args, const AttentionKernel& kernel);

}  // namespace etggml::kernels
