#include "delegate/observer.h"

#include <executorch/runtime/core/event_tracer_hooks_delegate.h>
#include <executorch/runtime/core/exec_aten/exec_aten.h>
#include <executorch/runtime/platform/platform.h>

#include <array>
#include <unordered_set>

#include "engine/profile.h"

namespace etggml::delegate {

using executorch::runtime::DebugHandle;
using executorch::runtime::EventTracerDebugLogLevel;
using executorch::runtime::EventTracerProfilingLevel;

namespace {

std::vector<bool> results_of(const ir::Graph& ir_graph) {
  std::vector<bool> is_result(ir_graph.node_count(), false);
  std::unordered_set<uint32_t> seen;
  for (uint32_t i = ir_graph.node_count(); i-- > 0;) {
    const uint32_t handle = ir_graph.node(i).debug_handle();
    is_result[i] = handle != 0 && seen.insert(handle).second;
  }
  return is_result;
}

}  // namespace

TracerObserver::TracerObserver(executorch::runtime::EventTracer* tracer, const ir::Graph& ir_graph)
    : tracer_(tracer), ir_graph_(ir_graph) {
  if (tracer_ != nullptr && tracer_->event_tracer_debug_level() == EventTracerDebugLogLevel::kIntermediateOutputs)
    is_result_ = results_of(ir_graph);
  if (tracer_ != nullptr && tracer_->event_tracer_profiling_level() == EventTracerProfilingLevel::kProfileMethodOnly &&
      is_result_.empty())
    tracer_ = nullptr;
  if (tracer_ == nullptr) return;
  const auto ratio = executorch::runtime::pal_ticks_to_ns_multiplier();
  ticks_per_ns_ = static_cast<double>(ratio.denominator) / static_cast<double>(ratio.numerator);
  ticks_at_zero_ = static_cast<int64_t>(executorch::runtime::pal_current_ticks()) -
                   static_cast<int64_t>(static_cast<double>(engine::now_ns()) * ticks_per_ns_);
}

void TracerObserver::node(int64_t ir_node, const char* op, int64_t start_ns, int64_t end_ns) {
  if (wants_values() && ir_node >= 0) {
    int64_t& spent = spent_[ir_graph_.node(static_cast<uint32_t>(ir_node)).debug_handle()];
    if (!is_result_[static_cast<size_t>(ir_node)]) {
      spent += end_ns - start_ns;
      return;
    }
    start_ns -= spent;
  }
  auto ticks = [&](int64_t ns) {
    return static_cast<et_timestamp_t>(ticks_at_zero_ + static_cast<int64_t>(static_cast<double>(ns) * ticks_per_ns_));
  };
  // An id and a name are exclusive in ExecuTorch; the op's name travels as metadata.
  executorch::runtime::event_tracer_log_profiling_delegate(tracer_, nullptr, static_cast<DebugHandle>(ir_node),
                                                           ticks(start_ns), ticks(end_ns), op, __builtin_strlen(op));
}

void TracerObserver::value(const engine::Value& value) {
  using executorch::aten::SizesType;
  using executorch::aten::TensorImpl;
  if (value.kind != engine::Value::Kind::Node || !is_result_[value.index]) return;
  // ExecuTorch compares with torch's values, and their shapes lack our leading ones.
  size_t first = 0;
  while (first + 1 < static_cast<size_t>(value.rank) && value.shape[first] == 1) ++first;
  std::array<SizesType, 8> sizes{};
  std::array<executorch::aten::StridesType, 8> strides{};  // ETDump reads them
  std::array<executorch::aten::DimOrderType, 8> order{};
  const size_t rank = static_cast<size_t>(value.rank) - first;
  executorch::aten::StridesType stride = 1;
  for (size_t i = rank; i-- > 0;) {
    sizes[i] = static_cast<SizesType>(value.shape[first + i]);
    strides[i] = stride;
    stride *= sizes[i];
    order[i] = static_cast<executorch::aten::DimOrderType>(i);
  }
  TensorImpl impl(static_cast<executorch::aten::ScalarType>(value.dtype), static_cast<ssize_t>(rank), sizes.data(),
                  const_cast<void*>(value.data), order.data(), strides.data());
  executorch::runtime::event_tracer_log_output_delegate(tracer_, nullptr, static_cast<DebugHandle>(value.index),
                                                        executorch::aten::Tensor(&impl));
}

void Observers::node(int64_t ir_node, const char* op, int64_t start_ns, int64_t end_ns) {
  if (tracer_.wanted()) tracer_.node(ir_node, op, start_ns, end_ns);
}

void Observers::value(const engine::Value& value) {
  if (tracer_.wants_values()) tracer_.value(value);
  if (watch_) watch_(method_.c_str(), delegate_, value);
}

}  // namespace etggml::delegate
