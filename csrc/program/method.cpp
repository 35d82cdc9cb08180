#include "program/method.h"

#include <executorch/extension/memory_allocator/malloc_memory_allocator.h>
#include <executorch/runtime/core/event_tracer.h>
#include <executorch/runtime/core/portable_type/device.h>
#include <executorch/runtime/executor/program.h>

#include <algorithm>
#include <cstdlib>
#include <utility>

#include "engine/load_scope.h"
#include "program/et_log.h"
#include "program/executorch_call.h"
#include "program/layout.h"
#include "util/scalar_type.h"

namespace etggml::program {
namespace {

using executorch::aten::ScalarType;
using executorch::aten::Tensor;
using executorch::aten::TensorImpl;
using executorch::runtime::Error;
using executorch::runtime::EValue;
using executorch::runtime::HierarchicalAllocator;
using executorch::runtime::MemoryManager;
using executorch::runtime::Method;
using executorch::runtime::Span;
using Kind = ValueInfo::Kind;

// As in ExecuTorch's own loop, for programs that jump back for ever.
constexpr int64_t kMostInstructions = 10000000;

std::string dims_text(const int64_t* dims, size_t rank) {
  std::string text = "[";
  for (size_t i = 0; i < rank; ++i) text += (i == 0 ? "" : ", ") + std::to_string(dims[i]);
  return text + "]";
}

// Why load_method failed: our delegate's own words if it was ours, else ExecuTorch's.
Status load_failure(const PteFile& file, const std::string& name, Error err) {
  Status ours = engine::take_delegate_failure();
  const std::string theirs = describe(err);
  if (!ours.ok()) return ours;
  const std::string where = file.path() + ", method '" + name + "': ";
  switch (err) {
    case Error::OperatorMissing:
      return error(ETGGML_UNSUPPORTED, "%san operator outside our delegates has no CPU kernel in this process: %s",
                   where.c_str(), theirs.c_str());
    case Error::NotFound:
      return error(ETGGML_UNSUPPORTED, "%sa backend or external data is missing: %s", where.c_str(), theirs.c_str());
    case Error::MemoryAllocationFailed:
      return error(ETGGML_OUT_OF_MEMORY, "%s%s", where.c_str(), theirs.c_str());
    default:
      return error(ETGGML_FORMAT, "%s%s", where.c_str(), theirs.c_str());
  }
}

// Method::execute() instruction by instruction, with a look at whether the call is to end before each: those between
// our delegates are calls of ExecuTorch's kernels, and there may be many.
Error step_through(Method& method, Stop& stop) {
  for (int64_t i = 0; i < kMostInstructions; ++i) {
    if (stop.asked(0)) return Error::Internal;
    const Error err = method.step();
    if (err == Error::EndOfMethod) return method.reset_execution();
    if (err != Error::Ok) return err;
  }
  ET_LOG(Error, "the method does not end after %lld instructions", static_cast<long long>(kMostInstructions));
  return Error::InvalidProgram;
}

}  // namespace

struct LoadedMethod::State {
  // Storage of an input that aliases the caller's memory.
  struct Slot {
    std::vector<executorch::aten::SizesType> sizes;
    std::vector<executorch::aten::DimOrderType> order;
    std::vector<executorch::aten::StridesType> strides;
    std::unique_ptr<TensorImpl> tensor;
    std::vector<uint8_t> reordered;  // the caller's elements in the order that the program expects, if it is another
  };
  executorch::extension::MallocMemoryAllocator method_memory, temp_memory;
  struct Free {
    void operator()(uint8_t* memory) const { std::free(memory); }
  };
  std::vector<std::unique_ptr<uint8_t[], Free>> planned;
  std::vector<Span<uint8_t>> spans;
  std::unique_ptr<HierarchicalAllocator> planned_memory;
  std::unique_ptr<MemoryManager> memory;
  std::unique_ptr<Method> method;
  std::vector<Slot> slots;
  std::vector<std::vector<uint8_t>> results;  // row-major copies of outputs that are in another order
};

LoadedMethod::LoadedMethod() : state_(std::make_unique<State>()) {}
LoadedMethod::~LoadedMethod() = default;

size_t LoadedMethod::output_count() const { return state_->method->outputs_size(); }

Result<std::unique_ptr<LoadedMethod>> LoadedMethod::load(const PteFile& file, const std::string& name,
                                                         executorch::runtime::EventTracer* tracer) {
  return call_executorch(file.path(), [&] { return load_now(file, name, tracer); });
}

Result<std::unique_ptr<LoadedMethod>> LoadedMethod::load_now(const PteFile& file, const std::string& name,
                                                             executorch::runtime::EventTracer* tracer) {
  take_executorch_errors();
  (void)engine::take_delegate_failure();
  std::unique_ptr<LoadedMethod> method(new LoadedMethod());
  method->name_ = name;
  method->traced_ = tracer != nullptr;
  ETGGML_ASSIGN_OR_RETURN(method->inputs_, method_inputs(file, name));
  ETGGML_RETURN_IF_ERROR(method->plan_memory(file));
  auto loaded = file.program().load_method(name.c_str(), method->state_->memory.get(), tracer, file.data());
  if (!loaded.ok()) return load_failure(file, name, loaded.error());
  method->state_->method = std::make_unique<Method>(std::move(loaded.get()));
  if (const engine::LoadScope* scope = engine::LoadScope::current())
    ETGGML_RETURN_IF_ERROR(file.check_delegate_results(name, scope->delegate_inputs));
  method->state_->slots.resize(method->inputs_.size());
  method->int_outputs_.resize(method->output_count());
  method->double_outputs_.resize(method->output_count());
  return method;
}

Status LoadedMethod::plan_memory(const PteFile& file) {
  auto meta = file.program().method_meta(name_.c_str());
  if (!meta.ok())
    return error(ETGGML_FORMAT, "%s, method '%s': %s", file.path().c_str(), name_.c_str(),
                 describe(meta.error()).c_str());
  for (size_t i = 0; i < meta->num_memory_planned_buffers(); ++i) {
    auto size = meta->memory_planned_buffer_size(i);
    auto device = meta->memory_planned_buffer_device(i);
    if (!size.ok() || *size < 0)
      return error(ETGGML_FORMAT, "%s, method '%s': buffer %zu has no valid size", file.path().c_str(), name_.c_str(),
                   i);
    if (device.ok() && device->type() != executorch::runtime::etensor::DeviceType::CPU) {
      return error(ETGGML_UNSUPPORTED,
                   "%s, method '%s' was exported with its values in device memory; export without \"target_device\"",
                   file.path().c_str(), name_.c_str());
    }
    // Zero, so that a buffer without an initial value is the same in every run; an upper bound of many megabytes still
    // costs nothing until it is written.
    const size_t bytes = std::max<size_t>(1, static_cast<size_t>(*size));
    state_->planned.emplace_back(static_cast<uint8_t*>(std::calloc(bytes, 1)));
    if (state_->planned.back() == nullptr) {
      return error(ETGGML_OUT_OF_MEMORY, "%s, method '%s' needs a buffer of %lld bytes", file.path().c_str(),
                   name_.c_str(), static_cast<long long>(*size));
    }
    state_->spans.push_back({state_->planned.back().get(), static_cast<size_t>(*size)});
  }
  state_->planned_memory =
      std::make_unique<HierarchicalAllocator>(Span<Span<uint8_t>>{state_->spans.data(), state_->spans.size()});
  state_->memory =
      std::make_unique<MemoryManager>(&state_->method_memory, state_->planned_memory.get(), &state_->temp_memory);
  return ok_status();
}

bool LoadedMethod::is_fixed(size_t index) const {
  std::vector<EValue> values(inputs_.size());
  if (state_->method->get_inputs(values.data(), values.size()) != Error::Ok || !values[index].isTensor()) return false;
  const auto dynamism = values[index].toTensor().unsafeGetTensorImpl()->shape_dynamism();
  return dynamism == executorch::runtime::TensorShapeDynamism::STATIC;
}

Result<std::vector<engine::HostStates::Place>> LoadedMethod::states(const PteFile& file) const {
  std::vector<engine::HostStates::Place> places;
  const std::vector<PlannedState>& list = file.states(name_);
  for (size_t i = 0; i < list.size(); ++i) {
    const PlannedState& state = list[i];
    if (state.buffer >= state_->spans.size() || state.offset > state_->spans[state.buffer].size() ||
        state.bytes > state_->spans[state.buffer].size() - state.offset) {
      return error(ETGGML_FORMAT, "%s, method '%s': state %zu lies outside the method's memory", file.path().c_str(),
                   name_.c_str(), i);
    }
    // A state without a name is the method's own.
    std::string name = state.name.empty() ? name_ + "#" + std::to_string(i) : state.name;
    places.push_back(
        {{std::move(name), state.dtype, state.shape, state.bytes}, state_->spans[state.buffer].data() + state.offset});
  }
  return places;
}

Status LoadedMethod::check_input(size_t index, const etggml_tensor& in) const {
  const ValueInfo& want = inputs_[index];
  auto fail = [&](etggml_status code, const std::string& text) {
    return error(code, "method '%s', %s: %s", name_.c_str(), want.name.c_str(), text.c_str());
  };
  if (want.kind == Kind::None) return ok_status();
  if (want.kind != Kind::Tensor) {
    const bool is_double = want.kind == Kind::Double;
    if (in.ndim == (is_double ? -2 : -1) && in.data != nullptr) return ok_status();
    return fail(ETGGML_INVALID_ARGUMENT,
                is_double ? "a float is expected (ndim -2, double*)" : "an integer is expected (ndim -1, int64_t*)");
  }
  if (in.ndim < 0)
    return fail(ETGGML_INVALID_ARGUMENT,
                in.ndim == -3 ? "a tensor is expected, not None" : "a tensor is expected, not a number");
  if (in.ndim > 8) return fail(ETGGML_SHAPE, format("%d dimensions, at most 8 are possible", in.ndim));
  if (in.dtype != want.dtype)
    return fail(ETGGML_DTYPE, format("dtype is %s, must be %s", scalar_name(in.dtype), scalar_name(want.dtype)));
  const size_t rank = static_cast<size_t>(in.ndim);
  const std::string have = dims_text(in.shape, rank), bound = dims_text(want.bound.data(), want.bound.size());
  if (rank != want.bound.size()) {
    return fail(ETGGML_SHAPE, format("shape %s has %zu dimensions, must have %zu (at most %s)", have.c_str(), rank,
                                     want.bound.size(), bound.c_str()));
  }
  size_t bytes = scalar_size(in.dtype);
  for (size_t d = 0; d < rank; ++d) {
    if (in.shape[d] < 0 || in.shape[d] > want.bound[d]) {
      if (is_fixed(index)) {
        return fail(ETGGML_SHAPE,
                    format("shape is %s, but it was exported as exactly %s", have.c_str(), bound.c_str()));
      }
      return fail(ETGGML_SHAPE,
                  format("shape %s: dimension %zu is %lld, at most %lld is possible (of %s)", have.c_str(), d,
                         static_cast<long long>(in.shape[d]), static_cast<long long>(want.bound[d]), bound.c_str()));
    }
    bytes *= static_cast<size_t>(in.shape[d]);
  }
  if (in.nbytes != bytes)
    return fail(ETGGML_INVALID_ARGUMENT,
                format("shape %s needs %zu bytes, %zu were given", have.c_str(), bytes, in.nbytes));
  if (in.data == nullptr && bytes > 0) return fail(ETGGML_INVALID_ARGUMENT, "data is NULL");
  return ok_status();
}

Status LoadedMethod::set_input(size_t index, const etggml_tensor& in) {
  EValue value;
  const Kind kind = inputs_[index].kind;
  if (kind == Kind::Tensor) {
    State::Slot& slot = state_->slots[index];
    const size_t rank = static_cast<size_t>(in.ndim);
    slot.sizes.resize(rank);
    slot.order.resize(rank);
    slot.strides.resize(rank);
    const std::vector<uint8_t>& order = inputs_[index].order;
    int64_t stride = 1;
    for (size_t d = rank; d-- > 0;) {
      slot.sizes[d] = static_cast<executorch::aten::SizesType>(in.shape[d]);
      slot.order[d] = order[d];
      slot.strides[order[d]] = static_cast<executorch::aten::StridesType>(stride);
      stride *= std::max<int64_t>(1, in.shape[order[d]]);
    }
    // ExecuTorch copies memory and does not look at orders.
    void* data = in.data;
    if (!is_row_major(order.data(), in.shape, rank)) {
      slot.reordered.resize(in.nbytes);
      from_row_major(order.data(), in.shape, rank, scalar_size(in.dtype), in.data, slot.reordered.data());
      data = slot.reordered.data();
    }
    slot.tensor = std::make_unique<TensorImpl>(static_cast<ScalarType>(in.dtype), static_cast<ssize_t>(rank),
                                               slot.sizes.data(), data, slot.order.data(), slot.strides.data());
    value = EValue(Tensor(slot.tensor.get()));
  } else if (kind == Kind::Int) {
    value = EValue(*static_cast<const int64_t*>(in.data));
  } else if (kind == Kind::Bool) {
    value = EValue(*static_cast<const int64_t*>(in.data) != 0);
  } else if (kind == Kind::Double) {
    value = EValue(*static_cast<const double*>(in.data));
  }
  const Error err = state_->method->set_input(value, index);
  if (err == Error::Ok) return ok_status();
  // Types and upper bounds were right. So it is a size that the export fixed.
  if (kind == Kind::Tensor) {
    return error(ETGGML_SHAPE, "method '%s', %s: shape is %s, but it was exported as exactly %s (%s)", name_.c_str(),
                 inputs_[index].name.c_str(), dims_text(in.shape, static_cast<size_t>(in.ndim)).c_str(),
                 dims_text(inputs_[index].bound.data(), inputs_[index].bound.size()).c_str(), describe(err).c_str());
  }
  return error(ETGGML_INVALID_ARGUMENT, "method '%s', %s: the export fixed this number to the one of its example (%s)",
               name_.c_str(), inputs_[index].name.c_str(), describe(err).c_str());
}

Status LoadedMethod::execute(const etggml_tensor* in, size_t n_in, Stop& stop, std::vector<etggml_tensor>* out) {
  ExecutorchCall call;
  take_executorch_errors();
  (void)engine::take_delegate_failure();
  if (n_in != inputs_.size())
    return error(ETGGML_INVALID_ARGUMENT, "method '%s' takes %zu inputs, %zu were given", name_.c_str(), inputs_.size(),
                 n_in);
  for (size_t i = 0; i < n_in; ++i) ETGGML_RETURN_IF_ERROR(check_input(i, in[i]));
  for (size_t i = 0; i < n_in; ++i) ETGGML_RETURN_IF_ERROR(set_input(i, in[i]));
  stop.begin();
  Error err = Error::Ok;
  try {
    err = traced_ ? state_->method->execute() : step_through(*state_->method, stop);
  } catch (const Aborted& aborted) {
    failed_ = true;
    return error(ETGGML_INTERNAL, "method '%s' failed outside our delegates, ExecuTorch gave up: %s", name_.c_str(),
                 aborted.what());
  }
  if (err != Error::Ok) {
    failed_ = true;
    Status ours = engine::take_delegate_failure();
    const std::string theirs = describe(err);
    if (!ours.ok()) return ours;
    if (stop.stopping()) return error(ETGGML_CANCELLED, "the call was cancelled");
    return error(err == Error::MemoryAllocationFailed ? ETGGML_OUT_OF_MEMORY : ETGGML_INTERNAL,
                 "method '%s' failed outside our delegates: %s", name_.c_str(), theirs.c_str());
  }
  out->assign(output_count(), etggml_tensor());
  for (size_t i = 0; i < out->size(); ++i) ETGGML_RETURN_IF_ERROR(read_output(i, &(*out)[i]));
  return ok_status();
}

Status LoadedMethod::read_output(size_t index, etggml_tensor* out) {
  const EValue& value = state_->method->get_output(index);
  if (value.isTensor()) {
    const Tensor& tensor = value.toTensor();
    if (tensor.dim() > 8)
      return error(ETGGML_UNSUPPORTED, "method '%s': output %zu has %d dimensions, at most 8 can be returned",
                   name_.c_str(), index, static_cast<int>(tensor.dim()));
    out->dtype = static_cast<int32_t>(tensor.scalar_type());
    out->ndim = static_cast<int32_t>(tensor.dim());
    for (ssize_t d = 0; d < tensor.dim(); ++d) out->shape[d] = tensor.size(d);
    out->data = const_cast<void*>(tensor.const_data_ptr());
    out->nbytes = tensor.nbytes();
    if (out->data == nullptr && out->nbytes > 0)
      return error(ETGGML_FORMAT, "method '%s': output %zu has no memory; the .pte plans none or frees it",
                   name_.c_str(), index);
    const uint8_t* order = tensor.dim_order().data();
    const size_t rank = static_cast<size_t>(tensor.dim());
    if (out->data != nullptr && !is_row_major(order, out->shape, rank)) {
      state_->results.resize(output_count());
      std::vector<uint8_t>& result = state_->results[index];
      result.resize(out->nbytes);
      to_row_major(order, out->shape, rank, scalar_size(out->dtype), out->data, result.data());
      out->data = result.data();
    }
    return ok_status();
  }
  if (value.isDouble()) {
    double_outputs_[index] = value.toDouble();
    *out = etggml_tensor{kDouble, -2, {}, &double_outputs_[index], sizeof(double)};
    return ok_status();
  }
  if (value.isInt() || value.isBool()) {
    int_outputs_[index] = value.isInt() ? value.toInt() : (value.toBool() ? 1 : 0);
    *out = etggml_tensor{value.isBool() ? kBool : kInt64, -1, {}, &int_outputs_[index], sizeof(int64_t)};
    return ok_status();
  }
  if (value.isNone()) {
    *out = etggml_tensor{0, -3, {}, nullptr, 0};
    return ok_status();
  }
  return error(ETGGML_UNSUPPORTED, "method '%s': output %zu is neither a tensor nor a number", name_.c_str(), index);
}

}  // namespace etggml::program
