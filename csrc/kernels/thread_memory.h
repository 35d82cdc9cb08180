// Scratch memory that a compute thread keeps between nodes.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "ggml.h"

namespace etggml::kernels {

/// All of one thread. One object, so that one touch makes the C library provide for it: later, in the middle of a
/// graph, it would end the process for want of memory.
struct ThreadMemory {
  struct alignas(64) Line {
    uint8_t bytes[64];
  };
  std::array<std::vector<Line>, 64> pieces;  // by the number of a Tag

  static ThreadMemory& mine() {
    static thread_local ThreadMemory memory;
    return memory;
  }
  /// A number that no other Tag has.
  static size_t next_number();
};

/// At least `bytes`, aligned to 64; contents undefined. One piece per thread and Tag, valid until the next call.
/// Throws std::bad_alloc (see kernel_guard.h).
template <class Tag>
uint8_t* thread_memory(size_t bytes) {
  static const size_t number = ThreadMemory::next_number();
  std::vector<ThreadMemory::Line>& memory = ThreadMemory::mine().pieces.at(number);
  const size_t lines = bytes / sizeof(ThreadMemory::Line) + 1;
  if (memory.size() < lines) {
    memory.clear();  // nothing is worth copying
    memory.resize(lines);
  }
  return memory[0].bytes;
}

/// A kernel (ggml_custom_op_t) that touches the memory of every thread that runs it.
void touch_thread_memory(ggml_tensor* y, int thread, int threads, void* user);

}  // namespace etggml::kernels
