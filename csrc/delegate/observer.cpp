#include "delegate/observer.h"

#include <executorch/runtime/core/event_tracer_hooks_delegate.h>
#include <executorch/runtime/platform/platform.h>

#include "runtime/profile.h"

namespace etggml::delegate {

using executorch::runtime::EventTracerProfilingLevel;

TracerObserver::TracerObserver(executorch::runtime::EventTracer* tracer) : tracer_(tracer) {
  if (tracer_ != nullptr && tracer_->event_tracer_profiling_level() == EventTracerProfilingLevel::kProfileMethodOnly)
    tracer_ = nullptr;
  if (tracer_ == nullptr) return;
  const auto ratio = executorch::runtime::pal_ticks_to_ns_multiplier();
  ticks_per_ns_ = static_cast<double>(ratio.denominator) / static_cast<double>(ratio.numerator);
  ticks_at_zero_ = static_cast<int64_t>(executorch::runtime::pal_current_ticks()) -
                   static_cast<int64_t>(static_cast<double>(runtime::now_ns()) * ticks_per_ns_);
}

void TracerObserver::node(int64_t ir_node, const char* op, int64_t start_ns, int64_t end_ns) {
  auto ticks = [&](int64_t ns) {
    return static_cast<et_timestamp_t>(ticks_at_zero_ + static_cast<int64_t>(static_cast<double>(ns) * ticks_per_ns_));
  };
  // An id and a name are exclusive in ExecuTorch; the op's name travels as metadata.
  executorch::runtime::event_tracer_log_profiling_delegate(tracer_, nullptr,
                                                           static_cast<executorch::runtime::DebugHandle>(ir_node),
                                                           ticks(start_ns), ticks(end_ns), op, __builtin_strlen(op));
}

}  // namespace etggml::delegate
