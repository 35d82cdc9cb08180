#include "weights/weight_store.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "devices/types.h"
#include "util/fork.h"
#include "util/log.h"

namespace etggml::weights {
namespace {

// A ggml buffer over mapped memory, with the owner of the mapping. Destroyed in reverse order.
struct Mapped {
  std::shared_ptr<const void> source;
  devices::BufferPtr buffer;
};

// One contiguous range that one owner keeps alive. Blobs from a .pte are separate mappings even where they touch.
bool adjacent(const std::vector<Part>& parts) {
  if (parts.size() > 1 && parts[0].files == nullptr) return false;
  for (size_t i = 1; i < parts.size(); ++i) {
    const char* end = static_cast<const char*>(parts[i - 1].data) + parts[i - 1].nbytes;
    if (parts[i].files != parts[0].files || parts[i].shard != parts[0].shard || end != parts[i].data) return false;
  }
  return true;
}

size_t total_bytes(const std::vector<Part>& parts) {
  size_t bytes = 0;
  for (const Part& part : parts) bytes += part.nbytes;
  return bytes;
}

std::string recipe(const BoundSlot& slot) {
  std::string text = std::to_string(static_cast<int>(slot.type)) + shape_text(slot.ne.data());
  for (const Part& part : slot.parts) text += "|" + part.key;
  return text;
}

}  // namespace

std::shared_ptr<WeightStore> WeightStore::shared(const gguf::FileSet& files, const devices::Device& device) {
  // Leaked on purpose: programs may be freed while static destructors run. A forked process makes its own: a thread
  // that it does not have may be filling its parent's.
  static auto* stores = new std::map<std::string, std::weak_ptr<WeightStore>>();
  static auto* mutex = new ProcessMutex(30);
  std::lock_guard<ProcessMutex> guard(*mutex);
  for (auto it = stores->begin(); it != stores->end();) it = it->second.expired() ? stores->erase(it) : std::next(it);
  std::weak_ptr<WeightStore>& entry = (*stores)[std::to_string(forks()) + "|" + device.name + "|" + files.id()];
  std::shared_ptr<WeightStore> store = entry.lock();
  if (store == nullptr) {
    store = std::make_shared<WeightStore>(device);
    entry = store;
  }
  return store;
}

Result<devices::Storage> WeightStore::place(const BoundSlot& slot, size_t* private_bytes) {
  *private_bytes = 0;
  std::lock_guard<std::mutex> guard(mutex_);
  if (!slot.cast && adjacent(slot.parts) && devices::can_use_host_memory(device_, slot.parts.front().data)) {
    bool mapped = false;
    ETGGML_ASSIGN_OR_RETURN(devices::Storage storage, map(slot, &mapped));
    if (mapped) return storage;
  }
  const std::string key = recipe(slot);
  auto it = copies_.find(key);
  if (it == copies_.end()) {
    ETGGML_ASSIGN_OR_RETURN(Copy made, copy(slot));
    it = copies_.emplace(key, std::move(made)).first;
  }
  *private_bytes = it->second.bytes;
  return it->second.storage;
}

Result<devices::Storage> WeightStore::map(const BoundSlot& slot, bool* mapped) {
  *mapped = true;
  const Part& first = slot.parts.front();
  if (first.files != nullptr) return map_file(first, first.data);
  // Embedded data: each blob is a mapping of its own and gets a buffer of its own.
  auto owner = std::make_shared<Mapped>();
  owner->source = first.owner;
  const size_t bytes = total_bytes(slot.parts);
  ETGGML_ASSIGN_OR_RETURN(owner->buffer, devices::wrap_host_memory(device_, first.data, bytes, bytes));
  ggml_backend_buffer_set_usage(owner->buffer.get(), GGML_BACKEND_BUFFER_USAGE_WEIGHTS);
  devices::Storage storage;
  storage.buffer = owner->buffer.get();
  storage.address = const_cast<void*>(first.data);
  storage.owner = owner;
  return storage;
}

Result<devices::Storage> WeightStore::map_file(const Part& part, const void* address) {
  const gguf::Shard& shard = part.files->shards()[part.shard];
  // Weak: a file that another program opened is closed with that program, while the store lives on for others.
  for (auto it = shard_buffers_.begin(); it != shard_buffers_.end();)
    it = it->second.expired() ? shard_buffers_.erase(it) : std::next(it);
  std::shared_ptr<const void> entry = shard_buffers_[shard.base].lock();
  if (entry == nullptr) {
    uint64_t largest = 0;
    for (const gguf::Tensor& tensor : part.files->tensors()) largest = std::max(largest, tensor.nbytes);
    auto made = std::make_shared<Mapped>();
    made->source = part.files;
    ETGGML_ASSIGN_OR_RETURN(made->buffer, devices::wrap_host_memory(device_, shard.base, shard.size, largest));
    ggml_backend_buffer_set_usage(made->buffer.get(), GGML_BACKEND_BUFFER_USAGE_WEIGHTS);
    entry = std::move(made);
    shard_buffers_[shard.base] = entry;
  }
  devices::Storage storage;
  storage.buffer = static_cast<const Mapped*>(entry.get())->buffer.get();
  storage.address = const_cast<void*>(address);
  storage.owner = entry;
  return storage;
}

Result<WeightStore::Copy> WeightStore::copy(const BoundSlot& slot) {
  ETGGML_ASSIGN_OR_RETURN(devices::ContextPtr context, devices::make_context(1));
  ggml_tensor* tensor = ggml_new_tensor(context.get(), slot.type, GGML_MAX_DIMS, slot.ne.data());
  Copy made;
  ETGGML_ASSIGN_OR_RETURN(made.storage, devices::allocate_tensor(device_, tensor));
  made.bytes = ggml_nbytes(tensor);
  ggml_backend_buffer_set_usage(made.storage.buffer, GGML_BACKEND_BUFFER_USAGE_WEIGHTS);
  ETGGML_RETURN_IF_ERROR(devices::attach(tensor, made.storage));
  if (slot.cast) {
    log(ETGGML_LOG_INFO, "weight '%s': converted to %s, %zu bytes of private memory", slot.name.c_str(),
        ggml_type_name(slot.type), made.bytes);
  }
  std::vector<uint8_t> staging;
  size_t offset = 0;
  for (const Part& part : slot.parts) {
    const int64_t columns = slot.ne[0];
    ETGGML_ASSIGN_OR_RETURN(const size_t src_row, devices::row_bytes(part.type, columns));
    ETGGML_ASSIGN_OR_RETURN(const size_t dst_row, devices::row_bytes(slot.type, columns));
    const int64_t rows = static_cast<int64_t>(part.nbytes / src_row);
    const size_t bytes = dst_row * static_cast<size_t>(rows);
    if (part.type == slot.type) {
      ggml_backend_tensor_set(tensor, part.data, offset, bytes);
    } else if (device_.is_cpu()) {
      void* dst = static_cast<char*>(tensor->data) + offset;
      ETGGML_RETURN_IF_ERROR(devices::convert_rows(part.type, part.data, slot.type, dst, rows, columns));
    } else {
      staging.resize(bytes);
      ETGGML_RETURN_IF_ERROR(devices::convert_rows(part.type, part.data, slot.type, staging.data(), rows, columns));
      ggml_backend_tensor_set(tensor, staging.data(), offset, bytes);
    }
    offset += bytes;
  }
  return made;
}

}  // namespace etggml::weights
