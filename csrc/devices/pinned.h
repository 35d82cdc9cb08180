// Host memory that a device copies from and to while the host goes on.
#pragma once

#include <vector>

#include "devices/memory.h"

namespace etggml::devices {

/// Grows and never shrinks; its contents are lost when it grows. Ordinary memory where the device has no other.
class PinnedMemory {
 public:
  /// At least `bytes`. ETGGML_OUT_OF_MEMORY.
  Result<char*> reserve(const Device& device, size_t bytes);
  char* data() const { return data_; }

 private:
  BufferPtr buffer_;
  std::vector<char> plain_;
  char* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace etggml::devices
