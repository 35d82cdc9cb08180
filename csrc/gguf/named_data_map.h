// The tensors of a GGUF as an ExecuTorch NamedDataMap: what Program::load_method takes, so that any delegate (not only
// ours) and the merge with a .pte's own named data can look a weight up by its GGUF name.
#pragma once

#include <executorch/runtime/core/named_data_map.h>

#include <array>
#include <memory>
#include <vector>

#include "gguf/file_set.h"

namespace etggml::gguf {

/// Zero-copy: buffers point into the mapping, which this object keeps alive; so it must outlive every Method loaded
/// with it.
class GGUFNamedDataMap final : public executorch::runtime::NamedDataMap {
 public:
  explicit GGUFNamedDataMap(std::shared_ptr<const FileSet> files);

  /// Sizes in torch order for the types that torch has too; NotSupported for ggml's block types, which a TensorLayout
  /// cannot express (their type travels in the graph instead); NotFound for an unknown key.
  ET_NODISCARD executorch::runtime::Result<const executorch::runtime::TensorLayout> get_tensor_layout(
      std::string_view key) const override;
  /// NotFound for an unknown key: ExecuTorch then looks in the .pte.
  ET_NODISCARD executorch::runtime::Result<executorch::runtime::FreeableBuffer> get_data(
      std::string_view key) const override;
  ET_NODISCARD executorch::runtime::Error load_data_into(std::string_view key, void* buffer,
                                                         size_t size) const override;
  ET_NODISCARD executorch::runtime::Result<uint32_t> get_num_keys() const override;
  ET_NODISCARD executorch::runtime::Result<const char*> get_key(uint32_t index) const override;

  const FileSet& files() const { return *files_; }

 private:
  std::shared_ptr<const FileSet> files_;
  std::vector<std::array<int32_t, 4>> sizes_;  // of each tensor, torch order: a TensorLayout only points to them
};

}  // namespace etggml::gguf
