// ggml nodes as delegate events of ExecuTorch's event tracer (ETDump).
#pragma once

#include <executorch/runtime/core/event_tracer.h>

#include "runtime/executable.h"

namespace etggml::delegate {

/// The delegate debug id of an event is the index of the IR node; the AOT side maps it to debug handles of the torch
/// nodes.
class TracerObserver final : public runtime::NodeObserver {
 public:
  /// tracer may be null.
  explicit TracerObserver(executorch::runtime::EventTracer* tracer);
  /// A tracer is there and wants events below the method level.
  bool wanted() const { return tracer_ != nullptr; }
  void node(int64_t ir_node, const char* op, int64_t start_ns, int64_t end_ns) override;

 private:
  executorch::runtime::EventTracer* tracer_;
  int64_t ticks_at_zero_ = 0;  // ExecuTorch's clock when ours read 0
  double ticks_per_ns_ = 1.0;
};

}  // namespace etggml::delegate
