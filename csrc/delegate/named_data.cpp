#include "delegate/named_data.h"

#include <utility>

namespace etggml::delegate {

using executorch::runtime::Error;
using executorch::runtime::FreeableBuffer;

Status EtNamedData::get(const std::string& key, weights::Blob* blob, bool* found) const {
  *found = false;
  if (map_ == nullptr) return ok_status();
  // get_data, because the merged map of a .pte with an external map implements nothing else.
  auto data = map_->get_data(key);
  if (data.error() == Error::NotFound) return ok_status();
  if (!data.ok()) {
    return error(ETGGML_IO, "data '%s' of the .pte / .ptd cannot be read (ExecuTorch error 0x%x: %s)", key.c_str(),
                 static_cast<unsigned>(data.error()), executorch::runtime::to_string(data.error()));
  }
  // Kept alive as it is: a memory-mapped .pte stays zero-copy.
  auto buffer = std::make_shared<FreeableBuffer>(std::move(data.get()));
  auto pointer = buffer->data_safe();
  if (!pointer.ok() || (*pointer == nullptr && buffer->size() > 0)) {
    return error(ETGGML_UNSUPPORTED, "data '%s' does not lie in this process's memory", key.c_str());
  }
  blob->data = *pointer;
  blob->size = buffer->size();
  blob->owner = buffer;
  *found = true;
  return ok_status();
}

}  // namespace etggml::delegate
