// Leaves and host nodes.
#include "graph/node_builder.h"
#include "graph/op_row.h"
#include "ir/boundary.h"
#include "util/scalar_type.h"

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

bool is_integer(int32_t dtype) {
  return dtype == kUint8 || dtype == kInt8 || dtype == kInt16 || dtype == kInt32 || dtype == kInt64;
}

Status check_input_leaf(const ir::NodeCheck& c) {
  const auto& leaf = *c.node().op_as_InputLeaf();
  const uint32_t n = ir::Graph::count(c.payload().inputs());
  if (leaf.input() >= n) return c.fail("input %u of %u", leaf.input(), n);
  const int32_t dtype = ir::boundary_dtype(*c.payload().inputs()->Get(leaf.input()));
  const bool open = c.node().type() == 255;
  const auto type = static_cast<ggml_type>(c.node().type());
  if (open || !ir::can_convert(dtype, type, leaf.mask())) {
    return c.fail("an input of type %s cannot become %s%s", scalar_name(dtype),
                  open ? "an open type" : ggml_type_name(type), leaf.mask() ? " as a mask" : "");
  }
  if (leaf.rows() == 0 && !leaf.from_end()) return ok_status();
  ETGGML_RETURN_IF_ERROR(c.dimension(leaf.rows(), "rows"));
  if (leaf.rows() == 0 || leaf.mask() || !is_integer(dtype) || type == GGML_TYPE_F16 || type == GGML_TYPE_BF16) {
    return c.fail("an input of type %s%s cannot be numbers of rows", scalar_name(dtype),
                  leaf.mask() ? " as a mask" : "");
  }
  return ok_status();
}

Result<ggml_tensor*> build_input_leaf(NodeBuilder& b) { return host_input(b); }

Status check_causal_mask(const ir::NodeCheck& c) {
  const auto* leaf = c.src(0).op_as_InputLeaf();
  const fb::Input* in = leaf ? c.payload().inputs()->Get(leaf->input()) : nullptr;
  if (!in || in->kind() != fb::InputKind_Tensor || (in->dtype() != kInt32 && in->dtype() != kInt64)) {
    return c.fail("src[0] must be an InputLeaf of an int32 or int64 tensor (the positions)");
  }
  return c.node().type() == GGML_TYPE_F16 ? ok_status() : c.fail("type must be f16");
}

Result<ggml_tensor*> build_causal_mask(NodeBuilder& b) {
  // The host reads the positions of the call, so there need not be a tensor of them.
  ggml_tensor* positions = b.src(0);
  if (b.options().kernels && positions && b.type() == GGML_TYPE_F16 && b.ne()[1] == ggml_nelements(positions) &&
      b.ne()[2] == 1 && b.ne()[3] == 1) {
    const int64_t window = b.node().op_as_CausalMask()->window();
    if (ggml_tensor* ours = b.options().kernels->causal_mask(b.ctx(), positions, b.ne()[0], window)) return ours;
  }
  return host_input(b);
}

Status check_fill(const ir::NodeCheck& c) {
  const uint8_t type = c.node().type();
  return type == GGML_TYPE_F32 || type == GGML_TYPE_F16 ? ok_status() : c.fail("type must be f32 or f16");
}

Result<ggml_tensor*> build_fill(NodeBuilder& b) { return host_input(b); }

Status check_weight_leaf(const ir::NodeCheck& c) {
  const uint32_t at = c.node().op_as_WeightLeaf()->slot(), n = ir::Graph::count(c.payload().weights());
  if (at >= n) return c.fail("slot %u of %u weights", at, n);
  const fb::WeightSlot& slot = *c.payload().weights()->Get(at);
  return c.same_as("slot", slot.cast() != 255 ? slot.cast() : slot.type(), slot.shape());
}

Result<ggml_tensor*> build_weight_leaf(NodeBuilder& b) {
  return given(b, b.state().leaves.weight(b.node().op_as_WeightLeaf()->slot()));
}

Status check_state_leaf(const ir::NodeCheck& c) {
  const uint32_t at = c.node().op_as_StateLeaf()->slot(), n = ir::Graph::count(c.payload().states());
  if (at >= n) return c.fail("slot %u of %u states", at, n);
  const fb::StateSlot& slot = *c.payload().states()->Get(at);
  return c.same_as("slot", slot.type(), slot.shape());
}

Result<ggml_tensor*> build_state_leaf(NodeBuilder& b) {
  return given(b, b.state().leaves.state(b.node().op_as_StateLeaf()->slot()));
}

Status check_const_leaf(const ir::NodeCheck& c) {
  const uint32_t at = c.node().op_as_ConstLeaf()->constant(), n = ir::Graph::count(c.payload().constants());
  if (at >= n) return c.fail("constant %u of %u", at, n);
  const fb::Constant& constant = *c.payload().constants()->Get(at);
  return c.same_as("constant", constant.type(), constant.shape());
}

Result<ggml_tensor*> build_const_leaf(NodeBuilder& b) {
  return given(b, b.state().leaves.constant(b.node().op_as_ConstLeaf()->constant()));
}

}  // namespace

const OpRow kInputLeafRow = row<fb::Op_InputLeaf, build_input_leaf, check_input_leaf>();
const OpRow kWeightLeafRow = row<fb::Op_WeightLeaf, build_weight_leaf, check_weight_leaf>();
const OpRow kStateLeafRow = row<fb::Op_StateLeaf, build_state_leaf, check_state_leaf>();
const OpRow kConstLeafRow = row<fb::Op_ConstLeaf, build_const_leaf, check_const_leaf>();
const OpRow kCausalMaskRow = row<fb::Op_CausalMask, build_causal_mask, check_causal_mask>();
const OpRow kFillRow = row<fb::Op_Fill, build_fill, check_fill>();

}  // namespace etggml::graph
