// Owners of ggml buffers and of the bytes behind them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "devices/devices.h"
#include "ggml-backend.h"
#include "util/status.h"

namespace etggml::devices {

/// ggml wants tensor data aligned like this (its TENSOR_ALIGNMENT).
constexpr size_t kTensorAlignment = 32;

struct BufferDeleter {
  void operator()(ggml_backend_buffer_t buffer) const { ggml_backend_buffer_free(buffer); }
};
using BufferPtr = std::unique_ptr<ggml_backend_buffer, BufferDeleter>;

struct ContextDeleter {
  void operator()(ggml_context* context) const { ggml_free(context); }
};
using ContextPtr = std::unique_ptr<ggml_context, ContextDeleter>;

/// A ggml_context for descriptors of `tensors` tensors (no data). ETGGML_OUT_OF_MEMORY.
Result<ContextPtr> make_context(size_t tensors);

/// Anonymous zero pages: memory counts as used only where it has been written, and going back to zeros gives it back.
class ZeroPages {
 public:
  static Result<std::shared_ptr<ZeroPages>> allocate(size_t bytes);
  ~ZeroPages();
  ZeroPages(const ZeroPages&) = delete;
  ZeroPages& operator=(const ZeroPages&) = delete;

  void* data() const { return data_; }
  size_t size() const { return size_; }
  /// All bytes back to zero.
  void clear();

 private:
  ZeroPages() = default;
  void* data_ = nullptr;
  size_t size_ = 0;
};

/// Memory of a tensor: its place, and the owner that keeps it there.
struct Storage {
  ggml_backend_buffer_t buffer = nullptr;
  void* address = nullptr;
  std::shared_ptr<const void> owner;
  std::shared_ptr<ZeroPages> pages;  ///< the memory itself, when it is zero pages of the host
};

/// Host memory usable as it is (zero-copy)? True on devices that take host pointers, for aligned addresses.
bool can_use_host_memory(const Device& device, const void* address);

/// A ggml buffer over host memory that outlives it. ETGGML_DEVICE if the device refuses.
Result<BufferPtr> wrap_host_memory(const Device& device, const void* address, size_t bytes, size_t largest_tensor);

/// Memory for one tensor of `bytes` on the device: zero pages on the CPU, the device's own elsewhere. `tensor` only
/// gives type and shape. The contents are zeros.
Result<Storage> allocate_tensor(const Device& device, const ggml_tensor* tensor);

/// Attaches storage to a tensor without memory.
Status attach(ggml_tensor* tensor, const Storage& storage);

}  // namespace etggml::devices
