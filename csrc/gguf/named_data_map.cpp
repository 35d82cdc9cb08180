#include "gguf/named_data_map.h"

#include <ggml.h>

#include <cstring>
#include <limits>
#include <utility>

namespace etggml::gguf {

using executorch::aten::ScalarType;
using executorch::runtime::Error;
using executorch::runtime::FreeableBuffer;
using executorch::runtime::Result;
using executorch::runtime::Span;
using executorch::runtime::TensorLayout;

namespace {

constexpr uint8_t kDimOrder[4] = {0, 1, 2, 3};

// The torch type of the same representation, if there is one.
bool scalar_type(int32_t type, ScalarType* out) {
  switch (static_cast<ggml_type>(type)) {
    case GGML_TYPE_F32:
      *out = ScalarType::Float;
      return true;
    case GGML_TYPE_F64:
      *out = ScalarType::Double;
      return true;
    case GGML_TYPE_F16:
      *out = ScalarType::Half;
      return true;
    case GGML_TYPE_BF16:
      *out = ScalarType::BFloat16;
      return true;
    case GGML_TYPE_I8:
      *out = ScalarType::Char;
      return true;
    case GGML_TYPE_I16:
      *out = ScalarType::Short;
      return true;
    case GGML_TYPE_I32:
      *out = ScalarType::Int;
      return true;
    case GGML_TYPE_I64:
      *out = ScalarType::Long;
      return true;
    default:
      return false;
  }
}

}  // namespace

GGUFNamedDataMap::GGUFNamedDataMap(std::shared_ptr<const FileSet> files) : files_(std::move(files)) {
  sizes_.reserve(files_->tensors().size());
  for (const Tensor& tensor : files_->tensors()) {
    std::array<int32_t, 4>& sizes = sizes_.emplace_back();
    for (uint32_t d = 0; d < tensor.n_dims; ++d) {
      const int64_t n = tensor.ne[tensor.n_dims - 1 - d];
      sizes[d] = n > std::numeric_limits<int32_t>::max() ? -1 : static_cast<int32_t>(n);  // -1: see get_tensor_layout
    }
  }
}

Result<const TensorLayout> GGUFNamedDataMap::get_tensor_layout(std::string_view key) const {
  const Tensor* tensor = files_->find(key);
  if (tensor == nullptr) return Error::NotFound;
  ScalarType type{};
  if (!scalar_type(tensor->type, &type)) return Error::NotSupported;
  const std::array<int32_t, 4>& sizes = sizes_[static_cast<size_t>(tensor - files_->tensors().data())];
  for (const int32_t n : sizes) {
    if (n < 0) return Error::NotSupported;  // ExecuTorch counts in 32 bits
  }
  return TensorLayout::create(Span<const int32_t>(sizes.data(), tensor->n_dims),
                              Span<const uint8_t>(kDimOrder, tensor->n_dims), type);
}

Result<FreeableBuffer> GGUFNamedDataMap::get_data(std::string_view key) const {
  const Tensor* tensor = files_->find(key);
  if (tensor == nullptr) return Error::NotFound;
  return FreeableBuffer(tensor->data, static_cast<size_t>(tensor->nbytes),
                        nullptr);  // no free function: not ours to free
}

Error GGUFNamedDataMap::load_data_into(std::string_view key, void* buffer, size_t size) const {
  const Tensor* tensor = files_->find(key);
  if (tensor == nullptr) return Error::NotFound;
  if (buffer == nullptr || size > tensor->nbytes) return Error::InvalidArgument;
  std::memcpy(buffer, tensor->data, size);
  return Error::Ok;
}

Result<uint32_t> GGUFNamedDataMap::get_num_keys() const { return static_cast<uint32_t>(files_->tensors().size()); }

Result<const char*> GGUFNamedDataMap::get_key(uint32_t index) const {
  if (index >= files_->tensors().size()) return Error::InvalidArgument;
  return files_->tensors()[index].name.c_str();
}

}  // namespace etggml::gguf
