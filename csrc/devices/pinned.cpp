#include "devices/pinned.h"

namespace etggml::devices {

Result<char*> PinnedMemory::reserve(const Device& device, size_t bytes) {
  if (bytes <= size_ && data_ != nullptr) return data_;
  buffer_.reset();
  data_ = nullptr;
  if (ggml_backend_buffer_type_t type = ggml_backend_dev_host_buffer_type(device.handle))
    buffer_.reset(ggml_backend_buft_alloc_buffer(type, bytes + 1));
  if (buffer_ != nullptr) {
    data_ = static_cast<char*>(ggml_backend_buffer_get_base(buffer_.get()));
  } else {
    plain_.resize(bytes + 1);
    data_ = plain_.data();
  }
  size_ = bytes;
  return data_;
}

}  // namespace etggml::devices
