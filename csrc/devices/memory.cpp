#include "devices/memory.h"

#include <sys/mman.h>

#include <utility>

#include "util/room.h"

namespace etggml::devices {
namespace {

// Keeps the parts of a storage together; destroyed in reverse order, so the buffer goes before its pages.
struct Owned {
  std::shared_ptr<ZeroPages> pages;
  BufferPtr buffer;
};

}  // namespace

Result<ContextPtr> make_context(size_t tensors) {
  ggml_init_params params = {};
  params.mem_size = (tensors + 1) * ggml_tensor_overhead();
  params.no_alloc = true;
  ContextPtr context(room_for(params.mem_size) ? ggml_init(params) : nullptr);
  if (context == nullptr) return error(ETGGML_OUT_OF_MEMORY, "cannot allocate descriptors of %zu tensors", tensors);
  return context;
}

Result<std::shared_ptr<ZeroPages>> ZeroPages::allocate(size_t bytes) {
  std::shared_ptr<ZeroPages> pages(new ZeroPages());
  const size_t size = bytes == 0 ? 1 : bytes;
  void* data = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (data == MAP_FAILED) return error(ETGGML_OUT_OF_MEMORY, "cannot allocate %zu bytes", bytes);
  pages->data_ = data;
  pages->size_ = size;
  return pages;
}

ZeroPages::~ZeroPages() {
  if (data_ != nullptr) munmap(data_, size_);
}

void ZeroPages::clear() {
  // Mapping fresh pages over the old ones is atomic, portable, and cheaper than writing zeros into pages nobody reads.
  void* again = mmap(data_, size_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
  if (again == MAP_FAILED) __builtin_memset(data_, 0, size_);
}

bool can_use_host_memory(const Device& device, const void* address) {
  ggml_backend_dev_props props = {};
  ggml_backend_dev_get_props(device.handle, &props);
  return props.caps.buffer_from_host_ptr && reinterpret_cast<uintptr_t>(address) % kTensorAlignment == 0;
}

Result<BufferPtr> wrap_host_memory(const Device& device, const void* address, size_t bytes, size_t largest_tensor) {
  // ggml's interface is not const-correct; nothing writes through a buffer of usage WEIGHTS.
  BufferPtr buffer(
      ggml_backend_dev_buffer_from_host_ptr(device.handle, const_cast<void*>(address), bytes, largest_tensor));
  if (buffer == nullptr) {
    return error(ETGGML_DEVICE, "device '%s' cannot use %zu bytes of mapped memory", device.name.c_str(), bytes);
  }
  return buffer;
}

Result<Storage> allocate_tensor(const Device& device, const ggml_tensor* tensor) {
  ggml_backend_buffer_type_t type = ggml_backend_dev_buffer_type(device.handle);
  const size_t bytes = ggml_backend_buft_get_alloc_size(type, tensor);
  auto owned = std::make_shared<Owned>();
  Storage storage;
  if (device.is_cpu()) {
    ETGGML_ASSIGN_OR_RETURN(owned->pages, ZeroPages::allocate(bytes));
    ETGGML_ASSIGN_OR_RETURN(owned->buffer, wrap_host_memory(device, owned->pages->data(), bytes, bytes));
  } else {
    owned->buffer.reset(ggml_backend_buft_alloc_buffer(type, bytes));
    if (owned->buffer == nullptr) {
      return error(ETGGML_OUT_OF_MEMORY, "device '%s' cannot allocate %zu bytes", device.name.c_str(), bytes);
    }
    ggml_backend_buffer_clear(owned->buffer.get(), 0);
  }
  storage.buffer = owned->buffer.get();
  storage.address = ggml_backend_buffer_get_base(storage.buffer);
  storage.pages = owned->pages;
  storage.owner = owned;
  return storage;
}

Status attach(ggml_tensor* tensor, const Storage& storage) {
  const size_t needed = ggml_backend_buffer_get_alloc_size(storage.buffer, tensor);
  const char* base = static_cast<const char*>(ggml_backend_buffer_get_base(storage.buffer));
  const char* end = base + ggml_backend_buffer_get_size(storage.buffer);
  const char* at = static_cast<const char*>(storage.address);
  if (at < base || at > end || static_cast<size_t>(end - at) < needed) {
    return error(ETGGML_INTERNAL, "tensor '%s' of %zu bytes does not fit its memory", tensor->name, needed);
  }
  if (ggml_backend_tensor_alloc(storage.buffer, tensor, storage.address) != GGML_STATUS_SUCCESS) {
    return error(ETGGML_DEVICE, "tensor '%s' could not be placed in its memory", tensor->name);
  }
  return ok_status();
}

}  // namespace etggml::devices
