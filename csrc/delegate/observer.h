// Reports of a call by its delegates: to ExecuTorch's event tracer (ETDump), and to a watcher of the program.
#pragma once

#include <executorch/runtime/core/event_tracer.h>

#include <string>
#include <unordered_map>
#include <vector>

#include "engine/executable.h"
#include "ir/graph.h"

namespace etggml::delegate {

/// ggml nodes as delegate events. The delegate debug id of an event is the index of the IR node; the AOT side maps it
/// to debug handles of the torch nodes. With a tracer that collects intermediate outputs there is one event per torch
/// operator instead: that of its last IR node. The result is logged with it, because the Inspector looks only at the
/// first event of an operator.
class TracerObserver final : public engine::NodeObserver {
 public:
  /// tracer may be null.
  TracerObserver(executorch::runtime::EventTracer* tracer, const ir::Graph& ir_graph);
  /// A tracer is there and wants events below the method level.
  bool wanted() const { return tracer_ != nullptr; }
  void node(int64_t ir_node, const char* op, int64_t start_ns, int64_t end_ns) override;
  bool wants_values() const override { return !is_result_.empty(); }
  void value(const engine::Value& value) override;

 private:
  executorch::runtime::EventTracer* tracer_;
  int64_t ticks_at_zero_ = 0;  // ExecuTorch's clock when ours read 0
  double ticks_per_ns_ = 1.0;
  const ir::Graph& ir_graph_;
  std::vector<bool> is_result_;                  // by IR node; empty when nobody wants values
  std::unordered_map<uint32_t, int64_t> spent_;  // by debug handle: on nodes before the result
};

/// All observers of one call. Borrows them.
class Observers final : public engine::NodeObserver {
 public:
  Observers(TracerObserver& tracer, const engine::WatchFn& watch, const std::string& method, size_t delegate)
      : tracer_(tracer), watch_(watch), method_(method), delegate_(delegate) {}
  bool wanted() const { return tracer_.wanted() || watch_; }
  void node(int64_t ir_node, const char* op, int64_t start_ns, int64_t end_ns) override;
  bool wants_values() const override { return tracer_.wants_values() || watch_; }
  void value(const engine::Value& value) override;

 private:
  TracerObserver& tracer_;
  const engine::WatchFn& watch_;
  const std::string& method_;
  size_t delegate_;
};

}  // namespace etggml::delegate
