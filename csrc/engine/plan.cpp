#include "engine/plan.h"

#include <map>
#include <mutex>
#include <optional>
#include <unordered_map>

#include "device_rules/ggml_internals.h"
#include "devices/probe.h"
#include "devices/separate.h"
#include "devices/types.h"
#include "engine/device_calls.h"
#include "fusion/conv_add.h"
#include "fusion/device_kernels.h"
#include "kernels/cpu_kernels.h"
#include "kernels/stopping.h"
#include "util/env.h"
#include "util/fork.h"

namespace etggml::engine {
namespace {

// Our kernels, on the dot products of the CPU module that ggml loaded. Leaked on purpose: graphs may outlive static
// destructors.
Result<const kernels::CpuKernelSet*> cpu_kernels(int threads) {
  const std::string names = env_string("EXECUTORCH_GGML_KERNELS");
  ETGGML_RETURN_IF_ERROR(kernels::check_kernel_names(names));
  static auto* mutex = new ProcessMutex(70);
  static auto* sets = new std::map<int, kernels::CpuKernelSet>();
  std::lock_guard<ProcessMutex> guard(*mutex);
  return &sets->try_emplace(threads, devices::cpu_traits_function(), threads, names).first->second;
}

// Results of a graph that get memory of their own each, instead of sharing the arena: a decoding step needs a few
// megabytes, an image hundreds.
constexpr size_t kMostSeparateBytes = size_t{64} << 20;

}  // namespace

bool computes(const ggml_tensor* node) {
  switch (node->op) {
    case GGML_OP_NONE:
    case GGML_OP_VIEW:
    case GGML_OP_RESHAPE:
    case GGML_OP_PERMUTE:
    case GGML_OP_TRANSPOSE:
      return false;
    default:
      return ggml_nelements(node) > 0;
  }
}

Result<std::unique_ptr<Plan>> Plan::create(Engine& engine, Arena& arena, const ir::Graph& ir_graph,
                                           const std::vector<int64_t>& symbols, graph::Leaves& leaves,
                                           Sampling sampling) {
  std::unique_ptr<Plan> plan(new Plan(engine, arena));
  plan->symbols_ = symbols;
  const devices::Probe probe(engine.device().handle);
  graph::BuildOptions options;
  options.device = engine.is_cpu() ? devices::cpu_probe() : &probe;
  options.max_live = UINT32_MAX;  // place() takes any number
  std::optional<kernels::CpuKernels> kernels;
  if (options.device == nullptr) {
    ETGGML_ASSIGN_OR_RETURN(const kernels::CpuKernelSet* set, cpu_kernels(engine.threads()));
    options.kernels = &kernels.emplace(*set);
  }
  const fusion::KernelSupport* calls = calls_of(engine.device());
  std::optional<fusion::DeviceKernels> device_kernels;
  if (calls != nullptr) options.kernels = &device_kernels.emplace(*calls, plan->calls_);
  ETGGML_ASSIGN_OR_RETURN(plan->built_, graph::build(ir_graph, symbols, leaves, options));
  if (options.device == nullptr) fusion::fold_additions(plan->built_);
  plan->map_nodes();
  if (options.device != nullptr) ETGGML_RETURN_IF_ERROR(plan->check_device(ir_graph, *options.device));
  ETGGML_RETURN_IF_ERROR(plan->place(ir_graph, calls, sampling));
  plan->map_nodes();
  plan->count_nodes();
  if (engine.is_cpu()) plan->borrowed_.find(plan->built_);
  // A number of its own lets ggml-cuda recognise the graph without comparing every node.
  plan->built_.graph->uid = ggml_graph_next_uid();
  if (engine.is_cpu()) plan->make_stoppable();
  plan->schedule_ = engine.make_plan(plan->built_.graph);
  return plan;
}

Plan::~Plan() { engine_.free_plan(schedule_); }

size_t Plan::bytes() const {
  size_t total = built_.tensors.bytes();
  for (const devices::BufferPtr& buffer : own_memory_) total += ggml_backend_buffer_get_size(buffer.get());
  return total;
}

// ggml's graph allocator aborts the process on a graph with too many values alive at one time; such a graph gets memory
// for every value. So does one small enough to be fused.
Status Plan::place(const ir::Graph& ir_graph, const fusion::KernelSupport* calls, Sampling sampling) {
  fusion::Fusion fusion;
  if (calls != nullptr && fusion::separate_bytes(built_) <= kMostSeparateBytes)
    fusion = fusion::fuse(built_.spare, built_, *calls, calls_);
  if (sampling != Sampling::None && calls != nullptr && !built_.outputs.empty()) {
    const auto make = sampling == Sampling::Greedy ? fusion::argmax_nodes : fusion::sample_nodes;
    sampler_ = make(built_.spare, built_.outputs[0], *calls, calls_);
    if (sampler_.node != nullptr) {
      std::vector<ggml_tensor*> tensors = {sampler_.node, sampler_.scratch};
      if (sampler_.params != nullptr) tensors.push_back(sampler_.params);
      ETGGML_ASSIGN_OR_RETURN(sampling_memory_, devices::place_tensors(tensors, engine_.buffer_type()));
      ggml_build_forward_expand(built_.graph, sampler_.node);
    }
  }
  if (fusion.groups > 0) {
    // The host fills every input, also one without readers.
    for (const graph::HostInput& input : built_.host_inputs) fusion.extra.push_back(input.tensor);
    ETGGML_ASSIGN_OR_RETURN(devices::BufferPtr memory, devices::place_separately(built_.tensors, built_.graph,
                                                                                 fusion.extra, engine_.buffer_type()));
    own_memory_.push_back(std::move(memory));
    return ok_status();
  }
  if (built_.peak_live <= graph::kMaxSharedTensors) {
    ETGGML_RETURN_IF_ERROR(arena_.place(built_.graph));
    generation_ = arena_.generation();
    return ok_status();
  }
  Result<std::vector<devices::BufferPtr>> memory = devices::place_all(built_.tensors, engine_.buffer_type());
  if (!memory.ok()) {
    return error(memory.status().code, "%s: %s of this call", ir_graph.origin().c_str(),
                 memory.status().message.c_str());
  }
  own_memory_ = std::move(*memory);
  return ok_status();
}

// The builder knows the limits of ggml-cpu. Other devices are asked about every node, before they would abort.
Status Plan::check_device(const ir::Graph& ir_graph, const device_rules::DeviceProbe& probe) const {
  std::string refused;
  for (int i = 0; i < ggml_graph_n_nodes(built_.graph); ++i) {
    const ggml_tensor* node = ggml_graph_node(built_.graph, i);
    if (node->op == GGML_OP_NONE || probe.supports(node)) continue;
    refused +=
        format("%snode %lld (%s)", refused.empty() ? "" : ", ", static_cast<long long>(ir_node(i)), ggml_op_desc(node));
  }
  if (refused.empty()) return ok_status();
  return error(ETGGML_UNSUPPORTED,
               "%s: device '%s' cannot run %s; use device \"cpu\" or export without these operators",
               ir_graph.origin().c_str(), engine_.device().name.c_str(), refused.c_str());
}

void Plan::make_stoppable() {
  for (int i = 0; i < ggml_graph_n_nodes(built_.graph); ++i) {
    ggml_tensor* node = ggml_graph_node(built_.graph, i);
    if (node->op == GGML_OP_CUSTOM) kernels::set_stop(node, &engine_.stop());
  }
}

void Plan::count_nodes() {
  for (int i = 0; i < ggml_graph_n_nodes(built_.graph); ++i) {
    const ggml_tensor* node = ggml_graph_node(built_.graph, i);
    if (!computes(node)) continue;
    ++running_nodes_;
    if (node->op == GGML_OP_CUSTOM && calls_.size() > 0) ++call_nodes_;
  }
}

void Plan::map_nodes() {
  // An IR node may be expanded to several ggml nodes; those before its value belong to it as well.
  std::unordered_map<const ggml_tensor*, int64_t> by_value;
  for (size_t i = 0; i < built_.values.size(); ++i) {
    if (built_.values[i] != nullptr) by_value.emplace(built_.values[i], static_cast<int64_t>(i));
  }
  const int count = ggml_graph_n_nodes(built_.graph);
  ir_nodes_.assign(static_cast<size_t>(count), -1);
  int64_t next = -1;
  for (int i = count - 1; i >= 0; --i) {
    const auto it = by_value.find(ggml_graph_node(built_.graph, i));
    if (it != by_value.end()) next = it->second;
    ir_nodes_[static_cast<size_t>(i)] = next;
  }
}

}  // namespace etggml::engine
