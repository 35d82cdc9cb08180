#include "delegate/arguments.h"

#include <executorch/runtime/core/exec_aten/util/tensor_util.h>

#include "util/scalar_type.h"

namespace etggml::delegate {
namespace {

using executorch::aten::SizesType;
using executorch::aten::Tensor;
using executorch::runtime::Error;
using executorch::runtime::EValue;

// Dimensions of size 1 may stand anywhere in the order: they do not move an element.
bool row_major(const Tensor& tensor) {
  const auto order = tensor.dim_order();
  int last = -1;
  for (size_t i = 0; i < order.size(); ++i) {
    if (tensor.size(order[i]) == 1) continue;
    if (static_cast<int>(order[i]) < last) return false;
    last = order[i];
  }
  return true;
}

}  // namespace

Status InputViews::assign(executorch::runtime::Span<EValue*> values, size_t count) {
  views_.assign(count, ir::InputView());
  dims_.resize(count);
  numbers_.resize(count);
  for (size_t i = 0; i < count; ++i) {
    const EValue& value = *values[i];
    ir::InputView& view = views_[i];
    if (value.isTensor()) {
      const Tensor& tensor = value.toTensor();
      const size_t rank = static_cast<size_t>(tensor.dim());
      if (rank > ir::kMaxRank) return error(ETGGML_SHAPE, "input %zu has %zu dimensions", i, rank);
      if (!row_major(tensor)) {
        return error(ETGGML_INVALID_ARGUMENT,
                     "input %zu of the delegate is not row-major in the .pte; lower the model again: GgmlPartitioner "
                     "makes every tensor of a program row-major",
                     i);
      }
      for (size_t d = 0; d < rank; ++d) dims_[i][d] = tensor.size(static_cast<ssize_t>(d));
      view.kind = ir::fb::InputKind_Tensor;
      view.dtype = static_cast<int32_t>(tensor.scalar_type());
      view.rank = static_cast<int32_t>(rank);
      view.dims = dims_[i].data();
      view.data = tensor.const_data_ptr();
      if (view.data == nullptr && tensor.numel() > 0)
        return error(ETGGML_FORMAT, "input %zu has no memory in the .pte, or an instruction of it freed it", i);
    } else if (value.isInt()) {
      numbers_[i].i = value.toInt();
      view.kind = ir::fb::InputKind_Int;
      view.data = &numbers_[i].i;
    } else if (value.isDouble()) {
      numbers_[i].d = value.toDouble();
      view.kind = ir::fb::InputKind_Double;
      view.data = &numbers_[i].d;
    } else if (value.isBool()) {
      numbers_[i].b = value.toBool();
      view.kind = ir::fb::InputKind_Bool;
      view.data = &numbers_[i].b;
    } else {
      return error(ETGGML_INVALID_ARGUMENT, "input %zu is neither a tensor nor a number", i);
    }
  }
  return ok_status();
}

Status EtOutputs::resize(size_t index, int32_t dtype, const std::vector<int64_t>& dims, size_t nbytes, void** data) {
  EValue& value = *values_[first_ + index];
  if (!value.isTensor()) return error(ETGGML_FORMAT, "output %zu of the delegate is not a tensor in the .pte", index);
  Tensor& tensor = value.toTensor();
  if (static_cast<int32_t>(tensor.scalar_type()) != dtype) {
    return error(ETGGML_FORMAT, "output %zu is %s in the delegate but %s in the .pte", index, scalar_name(dtype),
                 scalar_name(static_cast<int32_t>(tensor.scalar_type())));
  }
  std::array<SizesType, ir::kMaxRank> sizes{};
  if (dims.size() != static_cast<size_t>(tensor.dim())) {
    return error(ETGGML_FORMAT, "output %zu has %zu dimensions in the delegate but %d in the .pte", index, dims.size(),
                 static_cast<int>(tensor.dim()));
  }
  for (size_t d = 0; d < dims.size(); ++d) sizes[d] = static_cast<SizesType>(dims[d]);
  if (!row_major(tensor)) {
    return error(
        ETGGML_FORMAT,
        "output %zu of the delegate is not row-major in the .pte; lower the model again: GgmlPartitioner makes "
        "every tensor of a program row-major",
        index);
  }
  const Error err =
      executorch::runtime::resize_tensor(tensor, executorch::runtime::ArrayRef<SizesType>(sizes.data(), dims.size()));
  if (err != Error::Ok) {
    return error(ETGGML_SHAPE,
                 "output %zu cannot take the shape of this call (ExecuTorch: %s); the .pte's bounds do not allow it",
                 index, executorch::runtime::to_string(err));
  }
  if (tensor.nbytes() != nbytes)
    return error(ETGGML_INTERNAL, "output %zu has %zu bytes, needs %zu", index, tensor.nbytes(), nbytes);
  void* memory = tensor.unsafeGetTensorImpl()->mutable_data();
  // Memory that we lent in an earlier call may be too small or gone by now.
  *data = index < adopted_->size() && (*adopted_)[index] == memory ? nullptr : memory;
  return ok_status();
}

void EtOutputs::adopt(size_t index, void* data) {
  if (adopted_->size() <= index) adopted_->resize(index + 1, nullptr);
  (*adopted_)[index] = data;
  values_[first_ + index]->toTensor().unsafeGetTensorImpl()->set_data(data);
}

}  // namespace etggml::delegate
