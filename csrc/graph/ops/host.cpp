// Leaves and host nodes.
#include "graph/node_builder.h"

namespace etggml::graph {
namespace {

Result<ggml_tensor*> host_input(NodeBuilder& b) {
  ggml_tensor* t = ggml_new_tensor(b.ctx(), b.type(), 4, b.ne().data());
  ggml_set_input(t);
  b.state().host_inputs.push_back({t, b.index(), b.state().index_limits[b.index()]});
  return t;
}

/// A tensor of the runtime's: its shape must be the slot's and its memory packed.
Result<ggml_tensor*> given(NodeBuilder& b, ggml_tensor* t) {
  if (!t) return Status(ETGGML_INTERNAL, b.fail("the runtime has no tensor for it").message);
  if (shape_of(t) != b.ne() || !ggml_is_contiguous(t)) {
    return Status(ETGGML_INTERNAL, b.fail("the runtime's tensor has shape %s, or is not contiguous; expected %s",
                                          shape_text(shape_of(t)).c_str(), shape_text(b.ne()).c_str())
                                       .message);
  }
  if (b.ne()[0] % ggml_blck_size(t->type) != 0) {
    return b.unsupported("rows of %lld elements cannot be held as %s, whose blocks have %lld; choose another type",
                         static_cast<long long>(b.ne()[0]), ggml_type_name(t->type),
                         static_cast<long long>(ggml_blck_size(t->type)));
  }
  return t;
}

}  // namespace

Result<ggml_tensor*> build_input_leaf(NodeBuilder& b) { return host_input(b); }
Result<ggml_tensor*> build_causal_mask(NodeBuilder& b) {
  if (b.options().kernels && b.type() == GGML_TYPE_F16 && b.ne()[1] == ggml_nelements(b.src(0)) && b.ne()[2] == 1 &&
      b.ne()[3] == 1) {
    const int64_t window = b.node().op_as_CausalMask()->window();
    if (ggml_tensor* ours = b.options().kernels->causal_mask(b.ctx(), b.src(0), b.ne()[0], window)) return ours;
  }
  return host_input(b);
}
Result<ggml_tensor*> build_fill(NodeBuilder& b) { return host_input(b); }

Result<ggml_tensor*> build_weight_leaf(NodeBuilder& b) {
  return given(b, b.state().leaves.weight(b.node().op_as_WeightLeaf()->slot()));
}
Result<ggml_tensor*> build_state_leaf(NodeBuilder& b) {
  return given(b, b.state().leaves.state(b.node().op_as_StateLeaf()->slot()));
}
Result<ggml_tensor*> build_const_leaf(NodeBuilder& b) {
  return given(b, b.state().leaves.constant(b.node().op_as_ConstLeaf()->constant()));
}

}  // namespace etggml::graph
