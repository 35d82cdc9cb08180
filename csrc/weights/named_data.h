// Data by name from the .pte or .ptd, without this directory's weight code having to know ExecuTorch.
#pragma once

#include <cstddef>
#include <memory>
#include <string>

#include "util/status.h"

namespace etggml::weights {

struct Blob {
  const void* data = nullptr;
  size_t size = 0;
  std::shared_ptr<const void> owner;  ///< keeps data valid
};

class NamedData {
 public:
  virtual ~NamedData() = default;
  /// *found = false and OK when there is no such key.
  virtual Status get(const std::string& key, Blob* blob, bool* found) const = 0;
};

}  // namespace etggml::weights
