// Split sets: "model-00001-of-00003.gguf" and its siblings, as gguf-split and convert_hf_to_gguf.py write them. The
// first shard holds the metadata; every shard holds split.no, split.count and split.tensors.count.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "gguf/file_set.h"
#include "util/status.h"

namespace etggml::gguf {

/// A file's own note of its place in a set; count 1 when there is none.
struct SplitInfo {
  uint64_t no = 0;  ///< from 0
  uint64_t count = 1;
  uint64_t tensors = 0;  ///< of the whole set
  bool has_tensors = false;
};

/// Reads and checks the split.* entries. origin: for messages.
Result<SplitInfo> split_info(const std::vector<KeyValue>& kvs, const std::string& origin);

/// Paths of all shards of the set with the first file `first`, in order. Fails when its name does not follow the
/// pattern.
Result<std::vector<std::string>> shard_paths(const std::string& first, uint64_t count);

}  // namespace etggml::gguf
