// The caches that HEADS_ATTENTION takes: a condition of the descriptor, the same on every device and on the host.
#pragma once

#include "fusion/descriptors.h"

namespace etggml::cuda {

/// Whole caches of F16, in the order they are written; attention reads the queries that the heads have made.
inline bool shares_whole_caches(const HeadsAttentionDesc& c) {
  const HeadsDesc& h = c.heads;
  const AttentionDesc& a = c.attention;
  const int64_t d = a.head_dim, row = a.kv_heads * d;
  return h.k_cache->type == GGML_TYPE_F16 && h.v_cache->type == GGML_TYPE_F16 && a.k_cache == h.k_cache &&
         a.v_cache == h.v_cache && a.k_offset == 0 && a.v_offset == 0 && a.k_row_stride == row &&
         a.v_row_stride == row && a.k_head_stride == d && a.v_head_stride == d && h.q_out != nullptr &&
         a.q == h.q_out && h.tokens == a.tokens && h.q_tokens == a.tokens && a.q_heads % a.kv_heads == 0;
}

}  // namespace etggml::cuda
