#include "graph/build.h"

#include <algorithm>
#include <new>
#include <unordered_map>

#include "graph/node_builder.h"
#include "graph/op_row.h"

namespace etggml::graph {
namespace {

bool leaves_type_open(const BuildState& state, uint32_t i) {
  const fb::Node& node = state.ir_graph.node(i);
  if (node.op_type() == fb::Op_WeightLeaf) return node.type() == 255;
  if (const auto* leaf = node.op_as_StateLeaf()) {
    return state.ir_graph.payload().states()->Get(leaf->slot())->kind() == fb::StateKind_KvCache;
  }
  const int8_t source = ir::facts_of(node.op_type()).type_of;
  return source >= 0 && state.open_type[node.src()->Get(static_cast<uint32_t>(source))];
}

/// The tensor must be as the graph declares it; consumers rely on it.
Status verify_result(NodeBuilder& b, const ggml_tensor* t, bool open) {
  ETGGML_RETURN_IF_ERROR(b.result_shape(shape_of(t)));
  if (open || t->type == b.type()) return ok_status();
  const char* declared = b.type() == GGML_TYPE_COUNT ? "open" : ggml_type_name(b.type());
  for (uint32_t s = 0; s < b.src_count(); ++s) {
    if (b.src_open(s))
      return b.unsupported("type is %s, with these weights it would be %s", declared, ggml_type_name(t->type));
  }
  return b.fail("type is declared %s, the result is %s", declared, ggml_type_name(t->type));
}

Result<ggml_tensor*> build_node(BuildState& state, uint32_t i) {
  NodeBuilder b(state, i);
  ETGGML_ASSIGN_OR_RETURN(ggml_tensor * t, row_of(b.node().op_type()).build(b));
  state.open_type[i] = leaves_type_open(state, i);
  ETGGML_RETURN_IF_ERROR(verify_result(b, t, state.open_type[i]));
  const bool given = ir::facts_of(b.node().op_type()).memory == ir::kCaller;
  if (!given) ggml_format_name(t, "%s.%u", fb::EnumNameOp(b.node().op_type()), i);
  return t;
}

/// The memory a tensor's elements lie in.
const ggml_tensor* root_of(const ggml_tensor* t) { return t->view_src ? t->view_src : t; }

uint32_t peak_of(ggml_cgraph* graph, const std::vector<HostInput>& inputs) {
  const int n = ggml_graph_n_nodes(graph);
  std::unordered_map<const ggml_tensor*, int> last;
  auto used = [&](const ggml_tensor* t, int at) {
    if (!t) return;
    const ggml_tensor* root = root_of(t);
    if (!root->data) last[root] = (root->flags & GGML_TENSOR_FLAG_OUTPUT) ? n : at;
  };
  for (const HostInput& input : inputs) used(input.tensor, 0);
  for (int i = 0; i < n; ++i) {
    const ggml_tensor* node = ggml_graph_node(graph, i);
    used(node, i);
    for (const ggml_tensor* source : node->src) used(source, i);
  }
  std::vector<uint32_t> dying(static_cast<size_t>(n) + 1, 0);
  for (const auto& entry : last) ++dying[static_cast<size_t>(entry.second)];
  uint32_t live = 0, peak = 0;
  std::unordered_map<const ggml_tensor*, bool> born;
  for (const HostInput& input : inputs) live += born.emplace(input.tensor, true).second;
  for (int i = 0; i < n; ++i) {
    const ggml_tensor* root = root_of(ggml_graph_node(graph, i));
    if (!root->data) live += born.emplace(root, true).second;
    peak = std::max(peak, live);
    live -= std::min(live, dying[static_cast<size_t>(i)]);
  }
  return std::max(peak, live);
}

/// A result the runtime can copy out in one piece, in memory that nothing reuses before it does.
Result<ggml_tensor*> finish_output(BuildState& state, uint32_t output) {
  const uint32_t value = state.ir_graph.payload().outputs()->Get(output)->value();
  ggml_tensor* t = state.values[value];
  if (!ggml_is_contiguous(t)) {
    if (ggml_is_quantized(t->type) || ggml_nelements(t) > INT32_MAX) {
      return error(ETGGML_UNSUPPORTED, "%s: output %u, %s, is not contiguous and cannot be copied",
                   state.ir_graph.origin().c_str(), output, ir::node_name(state.ir_graph.payload(), value).c_str());
    }
    t = ggml_cont(state.tensors.room(), t);
    ggml_format_name(t, "output.%u", output);
  }
  // Not on the caller's own tensors, which other graphs share and which no allocator reuses anyway.
  if (!t->data) ggml_set_output(t);
  if (t->view_src && !t->view_src->data) ggml_set_output(t->view_src);
  return t;
}

Result<Built> build_all(const ir::Graph& ir_graph, const std::vector<int64_t>& symbols, Leaves& leaves,
                        const BuildOptions& options) {
  ETGGML_RETURN_IF_ERROR(ir_graph.check_shapes(symbols));
  size_t live = 0;
  for (uint32_t i = 0; i < ir_graph.node_count(); ++i) live += ir_graph.live(i);
  Built built;
  built.tensors = devices::TensorContexts(live + ir_graph.output_count() + devices::TensorContexts::kRoom);
  BuildState state{built.tensors, ir_graph, symbols, leaves, options, {}, {}, {}, {}, {}, {}};
  ETGGML_ASSIGN_OR_RETURN(state.index_limits, ir_graph.index_limits(symbols));
  state.values.assign(ir_graph.node_count(), nullptr);
  state.open_type.assign(ir_graph.node_count(), false);
  for (uint32_t i = 0; i < ir_graph.node_count(); ++i) {
    if (!ir_graph.live(i)) continue;
    ETGGML_ASSIGN_OR_RETURN(state.values[i], build_node(state, i));
  }
  for (uint32_t i = 0; i < ir_graph.output_count(); ++i) {
    ETGGML_ASSIGN_OR_RETURN(ggml_tensor * output, finish_output(state, i));
    built.outputs.push_back(output);
  }
  // Tensors of the caller are entries, too: at most one for each node.
  built.graph = built.tensors.graph(built.tensors.count() + live + kSpareTensors);
  // One by one, so that the graph keeps the order of the IR and writes to states stay where they are.
  for (ggml_tensor* value : state.values) {
    if (value) ggml_build_forward_expand(built.graph, value);
  }
  for (ggml_tensor* output : built.outputs) ggml_build_forward_expand(built.graph, output);
  built.peak_live = peak_of(built.graph, state.host_inputs);
  if (built.peak_live > options.max_live) {
    return error(ETGGML_UNSUPPORTED,
                 "%s: %u values are alive at one time, more than ggml's allocator can manage (%u); export in parts",
                 ir_graph.origin().c_str(), built.peak_live, options.max_live);
  }
  built.spare = built.tensors.room(kSpareTensors);
  built.values = std::move(state.values);
  built.host_inputs = std::move(state.host_inputs);
  return built;
}

}  // namespace

Result<Built> build(const ir::Graph& ir_graph, const std::vector<int64_t>& symbols, Leaves& leaves,
                    const BuildOptions& options) {
  try {
    return build_all(ir_graph, symbols, leaves, options);
  } catch (const std::bad_alloc&) {
    return error(ETGGML_OUT_OF_MEMORY, "%s: no memory for the graph", ir_graph.origin().c_str());
  }
}

}  // namespace etggml::graph
