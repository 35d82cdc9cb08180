// One GGUF file image -> its tables, or the first thing wrong with it. Works on memory, so that a fuzzer can feed it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "gguf/file_set.h"
#include "util/status.h"

namespace etggml::gguf {

struct Parsed {
  uint32_t version = 0;
  uint32_t alignment = 0;
  uint64_t data_offset = 0;
  std::vector<KeyValue> kvs;    // `data` points into the image
  std::vector<Tensor> tensors;  // `data` points into the image; `shard` is left 0
};

/// origin: the name of the image in messages (a path). Checks, in this order, header, metadata, tensor table, data
/// section. Names and keys are checked for duplicates. Memory used is proportional to the tables that are really there:
/// nothing is allocated on the word of a count.
Result<Parsed> parse(const uint8_t* base, uint64_t size, const std::string& origin, const Limits& limits);

}  // namespace etggml::gguf
