// One delegate payload, loaded: weights bound, states attached, plans cached. Bind -> plan -> fill -> compute ->
// outputs.
#pragma once

#include <memory>
#include <vector>

#include "devices/pinned.h"
#include "engine/context.h"
#include "engine/plan.h"
#include "engine/progress.h"
#include "engine/values.h"
#include "ir/graph.h"
#include "util/lru_cache.h"

namespace etggml::engine {

/// Where results go. Implemented by the caller of Executable::run().
class OutputSink {
 public:
  virtual ~OutputSink() = default;
  /// Called for every output before anything is computed: the shape it will have (torch order). Sets *data to memory
  /// for it, or to nullptr when the executable shall provide memory (see adopt()).
  virtual Status resize(size_t index, int32_t dtype, const std::vector<int64_t>& dims, size_t nbytes, void** data) = 0;
  /// The output lies at `data`, valid until the next run of the same executable.
  virtual void adopt(size_t index, void* data) = 0;
  /// True when outputs may stay where they were computed even though there is memory for a copy.
  virtual bool prefer_adopt() const { return false; }
};

/// Told about a call while it runs.
class NodeObserver {
 public:
  virtual ~NodeObserver() = default;
  /// A ggml node was computed, on the way to the value of node `ir_node` of the payload.
  virtual void node(int64_t ir_node, const char* op, int64_t start_ns, int64_t end_ns) = 0;
  /// Whether value() is to be called: reading every value costs more than computing most of them.
  virtual bool wants_values() const { return false; }
  /// In this order: symbols, inputs, nodes as they are computed. A node is left out if its value never exists, because
  /// a kernel computes it together with the next.
  virtual void value(const Value&) {}
};

/// A weight in memory, for statistics.
struct WeightUse {
  const void* address = nullptr;
  uint64_t bytes = 0;
  uint64_t bytes_private = 0;
};

class Executable {
 public:
  /// ETGGML_BIND with every misfit of the weights, ETGGML_CANCELLED when progress says so, and the errors of placing
  /// memory.
  static Result<std::unique_ptr<Executable>> create(std::shared_ptr<Context> context,
                                                    std::shared_ptr<const ir::Graph> ir_graph,
                                                    const weights::Sources& sources, const ProgressFn& progress);
  ~Executable();
  Executable(const Executable&) = delete;
  Executable& operator=(const Executable&) = delete;

  const ir::Graph& ir_graph() const { return *ir_graph_; }

  /// One call. A failing call leaves the executable usable. observer may be null; with one (or with the option
  /// "profile") nodes are computed and timed one by one. Errors: those of ir::Graph::bind, graph::build,
  /// graph::fill_host_input, Engine::compute.
  Status run(const ir::InputView* inputs, size_t n, OutputSink& sink, NodeObserver* observer);

  /// Outputs that the last call left on the device because a token was sampled from them.
  Status finish_outputs();

  const std::vector<WeightUse>& weights() const { return uses_; }
  /// Plans held and bytes of their descriptors.
  void plan_totals(size_t* count, size_t* bytes) const;

 private:
  class SlotLeaves;

  Executable(std::shared_ptr<Context> context, std::shared_ptr<const ir::Graph> ir_graph)
      : context_(std::move(context)), ir_graph_(std::move(ir_graph)), plans_(context_->options.max_plans) {}

  Status load_weights(const weights::Sources& sources, const ProgressFn& progress);
  Status load_states(const weights::NamedData* named);
  Status load_constants();
  Status check_files() const;
  Result<Plan*> plan_for(const std::vector<int64_t>& symbols, Sampling sampling, bool* hit);
  Status fill(Plan& plan, const ir::InputView* inputs, size_t n);
  void fill_sampling(const Plan& plan, char* staging);
  Status compute(const Plan& plan, NodeObserver* observer);
  Status compute_graph(const Plan& plan, NodeObserver* observer);
  Status compute_nodes(const Plan& plan, NodeObserver* observer);
  static void show_call(const Plan& plan, const ir::InputView* inputs, size_t n, NodeObserver& observer);
  static Status show_node(uint32_t ir_node, const ggml_tensor* tensor, NodeObserver& observer);
  /// `sizes`: the symbols of the call, of which the plan's are stand-ins.
  Status announce(const Plan& plan, const std::vector<int64_t>& sizes, OutputSink& sink,
                  std::vector<void*>* destinations);
  Status deliver(const Plan& plan, OutputSink& sink, const std::vector<void*>& destinations);
  Status deliver_from_device(const Plan& plan, OutputSink& sink, const std::vector<void*>& destinations);
  /// The token is copied behind the graph; after Engine::wait() it can be taken.
  Status copy_token(const Plan& plan);
  void take_token();

  std::shared_ptr<Context> context_;
  std::shared_ptr<const ir::Graph> ir_graph_;
  std::vector<std::shared_ptr<const gguf::FileSet>> files_;
  std::vector<devices::Storage> storages_;  // keeps weights and states where the tensors below point
  devices::ContextPtr tensors_;
  std::vector<ggml_tensor*> weights_, states_, constants_;  // by slot; null for slots nothing reads
  devices::ContextPtr constant_context_;
  devices::BufferPtr constant_buffer_;
  std::vector<WeightUse> uses_;
  std::unique_ptr<Arena> own_arena_;  // with skip_output_copy: nobody else may overwrite our results
  LruCache<std::vector<int64_t>, std::unique_ptr<Plan>> plans_;
  std::unique_ptr<Plan> uncached_;  // the current plan when nothing is cached
  std::vector<std::vector<uint8_t>> output_memory_;
  std::vector<bool> empty_;                          // outputs without elements in this call: nothing is delivered
  devices::PinnedMemory staging_, results_, token_;  // inputs, outputs, and a sampled token, on their way
  /// An output that is still on the device.
  struct Withheld {
    const ggml_tensor* tensor;
    int32_t dtype;
    void* destination;
    size_t nbytes;
    size_t place;  // of its copy in results_
  };
  std::vector<Withheld> withheld_;
};

}  // namespace etggml::engine
