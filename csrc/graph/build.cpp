#include "graph/build.h"

#include <algorithm>
#include <unordered_map>

#include "graph/composed_attention.h"
#include "graph/follow.h"
#include "graph/node_builder.h"
#include "graph/product.h"
#include "graph/softmax.h"
#include "graph/unrolled.h"

namespace etggml::graph {
namespace {

/// ggml tensors that a node may need, beside the ones the caller owns.
size_t tensors_of(const ir::Graph& ir_graph, const fb::Node& node) {
  switch (node.op_type()) {
    case fb::Op_WeightLeaf:
    case fb::Op_StateLeaf:
    case fb::Op_ConstLeaf:
      return 0;
    case fb::Op_Rope:
      return 2;  // padded factors
    case fb::Op_Argsort:
    case fb::Op_TopK:
      return 6;
    case fb::Op_Scatter:
      return 4;  // packed sources
    case fb::Op_SoftMax:
      return node.op_as_SoftMax()->empty_is_zero() ? kSoftMaxTensors : 1;
    case fb::Op_FlashAttn:
      return node.op_as_FlashAttn()->hidden() == fb::HiddenKeys_Passed ? 1 : kAttentionTensors;
    case fb::Op_Unary:
      return kUnaryTensors;
    case fb::Op_MulMat:
      return 1 + (node.op_as_MulMat()->then() ? kFollowTensors : node.src()->size() > 2 ? 2 : 0);
    case fb::Op_Conv2d:
    case fb::Op_Conv3d:
      return kConvTensors + kFollowTensors;
    case fb::Op_Recurrence: {
      const auto* steps = ir_graph.payload().shapes()->Get(ir_graph.node(node.src()->Get(1)).shape())->ne();
      return (static_cast<size_t>(steps->Get(2)) + 1) * kStepTensors;
    }
    default:
      return 1;
  }
}

struct Size {
  size_t tensors = 0;  // made in the context
  size_t graph = 0;    // entries of the graph, leaves of the caller included
};

/// What other forms of a node add on a device that is asked.
size_t adapted_tensors(const fb::Node& node) {
  if (node.op_type() == fb::Op_FlashAttn) return kAttentionTensors;
  if (node.op_type() == fb::Op_MulMatId) return kExpertsApart * kApartTensors + 1;
  return kRowTensors + adapt_tensors(ir::Graph::count(node.src()));
}

Size size_of(const ir::Graph& ir_graph, const BuildOptions& options) {
  Size size;
  size.tensors = size.graph = kSpareTensors;
  for (uint32_t i = 0; i < ir_graph.node_count(); ++i) {
    if (!ir_graph.live(i)) continue;
    const fb::Op op = ir_graph.node(i).op_type();
    const bool ours = op == fb::Op_Recurrence && options.kernels && options.kernels->takes_recurrence();
    size_t n = ours ? 1 : tensors_of(ir_graph, ir_graph.node(i));
    if (options.device && n > 0) n += adapted_tensors(ir_graph.node(i));
    if (op == fb::Op_MulMat || op == fb::Op_MulMatId || op == fb::Op_FlashAttn || op == fb::Op_Recurrence) {
      n += Kernels::kExtraTensors;
    }
    size.tensors += n;
    size.graph += std::max<size_t>(n, 1);
  }
  size.tensors += ir_graph.output_count();  // copies of outputs that are not contiguous
  size.graph += ir_graph.output_count();
  return size;
}

/// Ops whose result has the type, and often the memory, of one of their sources: which one. -1 for the others.
int type_source(fb::Op op) {
  switch (op) {
    case fb::Op_View:
    case fb::Op_Reshape:
    case fb::Op_Permute:
    case fb::Op_Cont:
    case fb::Op_SetRows:
      return 0;
    case fb::Op_Cpy:
      return 1;
    default:
      return -1;
  }
}

bool leaves_type_open(const BuildState& state, uint32_t i) {
  const fb::Node& node = state.ir_graph.node(i);
  if (node.op_type() == fb::Op_WeightLeaf) return node.type() == 255;
  if (const auto* leaf = node.op_as_StateLeaf()) {
    return state.ir_graph.payload().states()->Get(leaf->slot())->kind() == fb::StateKind_KvCache;
  }
  const int source = type_source(node.op_type());
  return source >= 0 && state.open_type[node.src()->Get(static_cast<uint32_t>(source))];
}

/// What the op function made must be what the graph declares; consumers rely on it.
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
  const OpFunction function = op_function(b.node().op_type());
  if (!function) return b.fail("op code is unknown");
  ETGGML_ASSIGN_OR_RETURN(ggml_tensor * t, function(b));
  state.open_type[i] = leaves_type_open(state, i);
  ETGGML_RETURN_IF_ERROR(verify_result(b, t, state.open_type[i]));
  if (tensors_of(state.ir_graph, b.node()) > 0) ggml_format_name(t, "%s.%u", fb::EnumNameOp(b.node().op_type()), i);
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
    t = ggml_cont(state.ctx, t);
    ggml_format_name(t, "output.%u", output);
  }
  // Not on the caller's own tensors, which other graphs share and which no allocator reuses anyway.
  if (!t->data) ggml_set_output(t);
  if (t->view_src && !t->view_src->data) ggml_set_output(t->view_src);
  return t;
}

}  // namespace

size_t context_bytes(const ir::Graph& ir_graph, const BuildOptions& options) {
  const Size size = size_of(ir_graph, options);
  return size.tensors * ggml_tensor_overhead() + ggml_graph_overhead_custom(size.graph, false);
}

Result<Built> build(ggml_context* ctx, const ir::Graph& ir_graph, const std::vector<int64_t>& symbols, Leaves& leaves,
                    const BuildOptions& options) {
  const size_t bytes = context_bytes(ir_graph, options);
  if (!ctx || !ggml_get_no_alloc(ctx) || ggml_get_mem_size(ctx) < ggml_used_mem(ctx) + bytes) {
    return error(ETGGML_INTERNAL, "%s: the context for the graph must be no_alloc and have %zu free bytes",
                 ir_graph.origin().c_str(), bytes);
  }
  ETGGML_RETURN_IF_ERROR(ir_graph.check_shapes(symbols));
  BuildState state{ctx, ir_graph, symbols, leaves, options, {}, {}, {}, {}, {}, {}};
  ETGGML_ASSIGN_OR_RETURN(state.index_limits, ir_graph.index_limits(symbols));
  state.values.assign(ir_graph.node_count(), nullptr);
  state.open_type.assign(ir_graph.node_count(), false);

  Built built;
  built.graph = ggml_new_graph_custom(ctx, size_of(ir_graph, options).graph, false);
  for (uint32_t i = 0; i < ir_graph.node_count(); ++i) {
    if (!ir_graph.live(i)) continue;
    ETGGML_ASSIGN_OR_RETURN(state.values[i], build_node(state, i));
    // One by one, so that the graph keeps the order of the IR and writes to states stay where they are.
    ggml_build_forward_expand(built.graph, state.values[i]);
  }
  for (uint32_t i = 0; i < ir_graph.output_count(); ++i) {
    ETGGML_ASSIGN_OR_RETURN(ggml_tensor * output, finish_output(state, i));
    ggml_build_forward_expand(built.graph, output);
    built.outputs.push_back(output);
  }
  built.peak_live = peak_of(built.graph, state.host_inputs);
  if (built.peak_live > options.max_live) {
    return error(ETGGML_UNSUPPORTED,
                 "%s: %u values are alive at one time, more than ggml's allocator can manage (%u); export in parts",
                 ir_graph.origin().c_str(), built.peak_live, options.max_live);
  }
  built.values = std::move(state.values);
  built.host_inputs = std::move(state.host_inputs);
  return built;
}

}  // namespace etggml::graph
