#include "kernels/thread_memory.h"

#include <atomic>

namespace etggml::kernels {

size_t ThreadMemory::next_number() {
  static std::atomic<size_t> next{0};
  return next++;
}

void touch_thread_memory(ggml_tensor*, int, int, void*) {
  volatile size_t pieces = ThreadMemory::mine().pieces.size();
  (void)pieces;
}

}  // namespace etggml::kernels
