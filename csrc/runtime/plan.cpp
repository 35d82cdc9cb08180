#include "runtime/plan.h"

#include <unordered_map>

namespace etggml::runtime {

Result<std::unique_ptr<Plan>> Plan::create(Engine& engine, Arena& arena, const ir::Program& program,
                                           const std::vector<int64_t>& symbols, graph::Leaves& leaves) {
  std::unique_ptr<Plan> plan(new Plan(engine, arena));
  plan->symbols_ = symbols;
  ggml_init_params params = {};
  params.mem_size = graph::context_bytes(program);
  params.no_alloc = true;
  plan->context_.reset(ggml_init(params));
  if (plan->context_ == nullptr) return error(ETGGML_OUT_OF_MEMORY, "cannot allocate %zu bytes for a graph", params.mem_size);

  graph::BuildOptions options;
  options.is_cpu = engine.is_cpu();
  ETGGML_ASSIGN_OR_RETURN(plan->built_, graph::build(plan->context_.get(), program, symbols, leaves, options));
  ETGGML_RETURN_IF_ERROR(plan->check_device(program));
  plan->map_nodes();
  ETGGML_RETURN_IF_ERROR(arena.place(plan->built_.graph));
  plan->generation_ = arena.generation();
  plan->schedule_ = engine.make_plan(plan->built_.graph);
  return plan;
}

Plan::~Plan() { engine_.free_plan(schedule_); }

size_t Plan::bytes() const { return ggml_get_mem_size(context_.get()); }

// The builder knows what ggml-cpu can do; other devices are asked node by node, before they would abort.
Status Plan::check_device(const ir::Program& program) const {
  if (engine_.is_cpu()) return ok_status();
  for (size_t i = 0; i < built_.values.size(); ++i) {
    const ggml_tensor* value = built_.values[i];
    if (value == nullptr || value->op == GGML_OP_NONE || ggml_backend_dev_supports_op(engine_.device().handle, value)) continue;
    return error(ETGGML_UNSUPPORTED, "%s: device '%s' cannot run node %zu (%s); use device \"cpu\" or export without that operator",
                 program.origin().c_str(), engine_.device().name.c_str(), i, ggml_op_desc(value));
  }
  return ok_status();
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

}  // namespace etggml::runtime
