// Attention of a few queries on a cache, and the nodes before it: norms and rotation of heads, writes of keys and
// values.
#pragma once

#include <vector>

#include "fusion/fuse.h"
#include "fusion/readers.h"

namespace etggml::fusion {

struct Attention {
  ggml_tensor* node = nullptr;  // FLASH_ATTN_EXT
  bool ours = false;            // `desc` runs; otherwise the node stays ggml's and only its preparation is ours
  cuda::AttentionDesc desc;
  bool together = false;  // `both` runs in place of `desc` and `heads`
  cuda::HeadsAttentionDesc both;
  bool prepared = false;  // the three below and `heads`
  cuda::HeadsDesc heads;
  ggml_tensor* rotated = nullptr;      // the queries as attention reads them; nullptr when they come from elsewhere
  ggml_tensor* key_write = nullptr;    // SET_ROWS
  ggml_tensor* value_write = nullptr;  // SET_ROWS
};

/// Every attention that the device has a kernel for, or for its preparation, in the order of the graph.
std::vector<Attention> find_attention(const std::vector<ggml_tensor*>& nodes, const Readers& readers,
                                      const KernelSupport& support);

}  // namespace etggml::fusion
