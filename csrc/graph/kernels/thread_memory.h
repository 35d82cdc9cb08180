// Scratch memory that a compute thread keeps between nodes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace etggml::graph {

/// At least `bytes`, aligned to 64; contents undefined. One piece per thread and Tag, valid until the next call.
template <class Tag>
uint8_t* thread_memory(size_t bytes) {
  struct alignas(64) Line {
    uint8_t bytes[64];
  };
  static thread_local std::vector<Line> memory;
  const size_t lines = bytes / sizeof(Line) + 1;
  if (memory.size() < lines) {
    memory.clear();  // nothing is worth copying
    memory.resize(lines);
  }
  return memory[0].bytes;
}

}  // namespace etggml::graph
