// A plan: the ggml graph of one binding of the symbols with memory for every tensor, ready to be filled and computed.
#pragma once

#include <memory>
#include <vector>

#include "devices/memory.h"
#include "engine/borrowed.h"
#include "engine/engine.h"
#include "engine/sampling.h"
#include "fusion/device_kernels.h"
#include "fusion/fuse.h"
#include "graph/build.h"

namespace etggml::engine {

/// Whether a node runs, and is no view.
bool computes(const ggml_tensor* node);

class Plan {
 public:
  /// Builds and places the graph. `arena` must outlive the plan. Call with the engine's mutex held. `sampling`: also
  /// compute token(), where the device can.
  static Result<std::unique_ptr<Plan>> create(Engine& engine, Arena& arena, const ir::Graph& ir_graph,
                                              const std::vector<int64_t>& symbols, graph::Leaves& leaves,
                                              Sampling sampling);
  ~Plan();
  Plan(const Plan&) = delete;
  Plan& operator=(const Plan&) = delete;

  /// False once the arena has moved: the plan's tensors dangle and it must be dropped.
  bool placed() const { return !own_memory_.empty() || arena_.generation() == generation_; }

  const graph::Built& built() const { return built_; }
  ggml_cgraph* graph() const { return built_.graph; }
  ggml_backend_graph_plan_t schedule() const { return schedule_; }
  const std::vector<int64_t>& symbols() const { return symbols_; }
  /// The token sampled from output 0's last row as the device makes it (I32 [1], cuda::ArgmaxDesc); nullptr without.
  ggml_tensor* token() const { return sampler_.node; }
  /// Its parameters, to be filled before every run; nullptr for greedy sampling.
  ggml_tensor* sampling_params() const { return sampler_.params; }
  /// On the CPU.
  BorrowedInputs& borrowed() { return borrowed_; }
  /// Nodes that run, and those of them that are calls of ours (graph/fusion). All are the engine's: a graph is never
  /// split over devices.
  size_t running_nodes() const { return running_nodes_; }
  size_t call_nodes() const { return call_nodes_; }
  /// Descriptors and memory of its own, not counting the shared arena.
  size_t bytes() const;

  /// IR node that computes ggml node `index` of the graph, or -1.
  int64_t ir_node(int index) const { return ir_nodes_[static_cast<size_t>(index)]; }

 private:
  Plan(Engine& engine, Arena& arena) : engine_(engine), arena_(arena) {}
  Status place(const ir::Graph& ir_graph, const fusion::KernelSupport* calls, Sampling sampling);
  Status check_device(const ir::Graph& ir_graph, const device_rules::DeviceProbe& probe) const;
  void map_nodes();
  void make_stoppable();
  void count_nodes();

  Engine& engine_;
  Arena& arena_;
  uint64_t generation_ = 0;
  std::vector<devices::BufferPtr> own_memory_;  // of a graph too wide for the arena's allocator, or one that was fused
  devices::BufferPtr sampling_memory_;          // of the sampler
  fusion::DescStore calls_;
  fusion::ChoiceNodes sampler_;
  size_t running_nodes_ = 0, call_nodes_ = 0;
  graph::Built built_;
  BorrowedInputs borrowed_;
  ggml_backend_graph_plan_t schedule_ = nullptr;
  std::vector<int64_t> symbols_;
  std::vector<int64_t> ir_nodes_;
};

}  // namespace etggml::engine
