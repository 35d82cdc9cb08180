// Weights in the memory of one device, once. They are mapped if the device can read the mapping. Otherwise they are
// copied or converted a single time, and shared by everybody who asks for the same data.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "devices/memory.h"
#include "weights/binding.h"

namespace etggml::weights {

class WeightStore {
 public:
  explicit WeightStore(devices::Device device) : device_(std::move(device)) {}

  /// The process-wide store of a GGUF on a device: two programs that opened the same unchanged file share it, as long
  /// as one of them lives.
  static std::shared_ptr<WeightStore> shared(const gguf::FileSet& files, const devices::Device& device);

  /// Memory holding the slot's data as `slot.type`. Zero-copy when nothing has to be converted, the parts lie next to
  /// each other and the address suits the device; otherwise a private copy, made on the first request. Thread-safe.
  /// *private_bytes: size of that copy, 0 for zero-copy.
  Result<devices::Storage> place(const BoundSlot& slot, size_t* private_bytes);

 private:
  struct Copy {
    devices::Storage storage;
    size_t bytes = 0;
  };

  Result<devices::Storage> map(const BoundSlot& slot, bool* mapped);
  Result<devices::Storage> map_file(const Part& part, const void* address);
  Result<Copy> copy(const BoundSlot& slot);

  const devices::Device device_;
  std::mutex mutex_;
  std::map<std::string, Copy> copies_;                              // by recipe
  std::map<const void*, std::weak_ptr<const void>> shard_buffers_;  // by mapping base; each owns buffer and FileSet
};

}  // namespace etggml::weights
