// ExecuTorch's NamedDataMap (the .pte's own data, a .ptd, or a host's map) as the runtime's NamedData.
#pragma once

#include <executorch/runtime/core/named_data_map.h>

#include "weights/named_data.h"

namespace etggml::delegate {

class EtNamedData final : public weights::NamedData {
 public:
  /// map may be null: then nothing is found.
  explicit EtNamedData(const executorch::runtime::NamedDataMap* map) : map_(map) {}
  Status get(const std::string& key, weights::Blob* blob, bool* found) const override;

 private:
  const executorch::runtime::NamedDataMap* map_;
};

}  // namespace etggml::delegate
