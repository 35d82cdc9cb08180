// Nodes: sources, types, the fields of each op that can be judged without the tensors, effects, liveness.
#include <cmath>
#include <initializer_list>

#include "ggml.h"
#include "ir/boundary.h"
#include "ir/validate.h"
#include "util/scalar_type.h"

namespace etggml::ir {
namespace {

struct Arity {
  uint32_t min, max;
};

Arity arity(fb::Op op) {
  switch (op) {
    case fb::Op_InputLeaf:
    case fb::Op_WeightLeaf:
    case fb::Op_StateLeaf:
    case fb::Op_ConstLeaf:
    case fb::Op_Fill:
      return {0, 0};
    case fb::Op_Binary:
    case fb::Op_GetRows:
    case fb::Op_Cpy:
    case fb::Op_Concat:
    case fb::Op_Im2col:
    case fb::Op_Conv2dDw:
      return {2, 2};
    case fb::Op_Glu:
    case fb::Op_SoftMax:
      return {1, 2};
    case fb::Op_MulMatId:
    case fb::Op_SetRows:
    case fb::Op_Scatter:
      return {3, 3};
    case fb::Op_Rope:
    case fb::Op_MulMat:
    case fb::Op_Conv2d:
    case fb::Op_Conv3d:
      return {2, 3};
    case fb::Op_FlashAttn:
      return {3, 5};
    case fb::Op_Recurrence:
      return {4, 5};
    default:
      return {1, 1};
  }
}

bool is_integer(int32_t dtype) {
  return dtype == kUint8 || dtype == kInt8 || dtype == kInt16 || dtype == kInt32 || dtype == kInt64;
}

bool finite(std::initializer_list<float> values) {
  for (float v : values) {
    if (!std::isfinite(v)) return false;
  }
  return true;
}

bool in_range(int64_t lo, std::initializer_list<int> values) {
  for (int v : values) {
    if (v < lo || v > 65536)
      return false;  // far beyond any kernel, stride or padding; keeps ggml's int arithmetic exact
  }
  return true;
}

bool is_permutation(const flatbuffers::Vector<uint8_t>* axes) {
  if (Graph::count(axes) != 4) return false;
  unsigned seen = 0;
  for (uint8_t axis : *axes) {
    if (axis > 3) return false;
    seen |= 1u << axis;
  }
  return seen == 15;
}

}  // namespace

Status Validator::nodes() {
  for (uint32_t i = 0; i < p_.node_count(); ++i) {
    ETGGML_RETURN_IF_ERROR(node_common(i));
    ETGGML_RETURN_IF_ERROR(leaf_fields(i));
    ETGGML_RETURN_IF_ERROR(node_fields(i));
  }
  return ok_status();
}

Status Validator::node_common(uint32_t i) {
  const fb::Node& node = p_.node(i);
  // An op this reader does not know passes the FlatBuffers verifier unread.
  if (node.op_type() <= fb::Op_NONE || node.op_type() > fb::Op_MAX || !node.op()) {
    return fail("node %u: op code %d is unknown", i, static_cast<int>(node.op_type()));
  }
  const Arity expected = arity(node.op_type());
  const uint32_t n_src = Graph::count(node.src());
  if (n_src < expected.min || n_src > expected.max) {
    return node_fail(i, "src has %u values, expected %u..%u", n_src, expected.min, expected.max);
  }
  for (uint32_t s = 0; s < n_src; ++s) {
    if (node.src()->Get(s) >= i)
      return node_fail(i, "src[%u] is %u, not a node before this one", s, node.src()->Get(s));
  }
  if (node.shape() >= Graph::count(g_.shapes())) {
    return node_fail(i, "shape %u of %u", node.shape(), Graph::count(g_.shapes()));
  }
  if (node.type() != 255 && !type_known(node.type())) return node_fail(i, "type %d is unknown", node.type());
  return ok_status();
}

Status Validator::epilogue(uint32_t i, const fb::Epilogue* then) {
  if (!then) return ok_status();
  if (then->activation() < fb::Activation_MIN || then->activation() > fb::Activation_MAX)
    return node_fail(i, "activation %d is unknown", then->activation());
  // Not a number on either side, too.
  if (!(then->min() <= then->max())) return node_fail(i, "clamp to %g..%g", then->min(), then->max());
  return ok_status();
}

Status Validator::input_leaf(uint32_t i, const fb::InputLeaf& leaf) {
  const fb::Node& node = p_.node(i);
  if (leaf.input() >= Graph::count(g_.inputs())) {
    return node_fail(i, "input %u of %u", leaf.input(), Graph::count(g_.inputs()));
  }
  const fb::Input& in = *g_.inputs()->Get(leaf.input());
  const int32_t dtype = boundary_dtype(in);
  if (node.type() == 255 || !can_convert(dtype, static_cast<ggml_type>(node.type()), leaf.mask())) {
    return node_fail(i, "an input of type %s cannot become %s%s", scalar_name(dtype),
                     node.type() == 255 ? "an open type" : ggml_type_name(static_cast<ggml_type>(node.type())),
                     leaf.mask() ? " as a mask" : "");
  }
  if (leaf.rows() != 0 || leaf.from_end()) {
    ETGGML_RETURN_IF_ERROR(dimension(leaf.rows(), node_name(g_, i) + ": rows"));
    if (leaf.rows() == 0 || leaf.mask() || !is_integer(dtype) || node.type() == GGML_TYPE_F16 ||
        node.type() == GGML_TYPE_BF16) {
      return node_fail(i, "an input of type %s%s cannot be numbers of rows", scalar_name(dtype),
                       leaf.mask() ? " as a mask" : "");
    }
  }
  return ok_status();
}

Status Validator::leaf_fields(uint32_t i) {
  const fb::Node& node = p_.node(i);
  if (const auto* leaf = node.op_as_InputLeaf()) return input_leaf(i, *leaf);
  if (const auto* leaf = node.op_as_WeightLeaf()) {
    if (leaf->slot() >= Graph::count(g_.weights())) {
      return node_fail(i, "slot %u of %u weights", leaf->slot(), Graph::count(g_.weights()));
    }
    const fb::WeightSlot& slot = *g_.weights()->Get(leaf->slot());
    const uint8_t stored = slot.cast() != 255 ? slot.cast() : slot.type();
    if (node.type() != stored) return node_fail(i, "type %d, the slot holds %d", node.type(), stored);
    if (p_.shape(node.shape(), p_.symbol_min_) != p_.shape(slot.shape(), p_.symbol_min_)) {
      return node_fail(i, "shape differs from its slot's");
    }
    return literal_shape(node.shape(), node_name(g_, i));
  }
  if (const auto* leaf = node.op_as_StateLeaf()) {
    if (leaf->slot() >= Graph::count(g_.states())) {
      return node_fail(i, "slot %u of %u states", leaf->slot(), Graph::count(g_.states()));
    }
    const fb::StateSlot& slot = *g_.states()->Get(leaf->slot());
    if (node.type() != slot.type()) return node_fail(i, "type %d, the slot holds %d", node.type(), slot.type());
    if (p_.shape(node.shape(), p_.symbol_min_) != p_.shape(slot.shape(), p_.symbol_min_)) {
      return node_fail(i, "shape differs from its slot's");
    }
    return literal_shape(node.shape(), node_name(g_, i));
  }
  if (const auto* leaf = node.op_as_ConstLeaf()) {
    if (leaf->constant() >= Graph::count(g_.constants())) {
      return node_fail(i, "constant %u of %u", leaf->constant(), Graph::count(g_.constants()));
    }
    const fb::Constant& constant = *g_.constants()->Get(leaf->constant());
    if (node.type() != constant.type())
      return node_fail(i, "type %d, the constant has %d", node.type(), constant.type());
    if (p_.shape(node.shape(), p_.symbol_min_) != p_.shape(constant.shape(), p_.symbol_min_)) {
      return node_fail(i, "shape differs from its constant's");
    }
    return literal_shape(node.shape(), node_name(g_, i));
  }
  return ok_status();
}

Status Validator::node_fields(uint32_t i) {
  const fb::Node& node = p_.node(i);
  switch (node.op_type()) {
    case fb::Op_CausalMask: {
      const fb::Node& positions = p_.node(node.src()->Get(0));
      const auto* leaf = positions.op_as_InputLeaf();
      const fb::Input* in = leaf ? g_.inputs()->Get(leaf->input()) : nullptr;
      if (!in || in->kind() != fb::InputKind_Tensor || (in->dtype() != kInt32 && in->dtype() != kInt64)) {
        return node_fail(i, "src[0] must be an InputLeaf of an int32 or int64 tensor (the positions)");
      }
      if (node.type() != GGML_TYPE_F16) return node_fail(i, "type must be f16");
      break;
    }
    case fb::Op_Fill:
      if (node.type() != GGML_TYPE_F32 && node.type() != GGML_TYPE_F16) return node_fail(i, "type must be f32 or f16");
      break;
    case fb::Op_Unary: {
      const int kind = node.op_as_Unary()->kind();
      if (kind < fb::UnaryKind_MIN || kind > fb::UnaryKind_MAX) return node_fail(i, "kind %d is unknown", kind);
      break;
    }
    case fb::Op_Binary: {
      const int kind = node.op_as_Binary()->kind();
      if (kind < fb::BinaryKind_MIN || kind > fb::BinaryKind_MAX) return node_fail(i, "kind %d is unknown", kind);
      break;
    }
    case fb::Op_Glu: {
      const auto* glu = node.op_as_Glu();
      if (glu->kind() < fb::GluKind_MIN || glu->kind() > fb::GluKind_MAX)
        return node_fail(i, "kind %d is unknown", glu->kind());
      if (glu->swapped() && (Graph::count(node.src()) == 2 || glu->kind() == fb::GluKind_SwigluOai)) {
        return node_fail(i, "swapped needs one source, and a kind other than SwigluOai");
      }
      break;
    }
    case fb::Op_LeakyRelu:
      if (!finite({node.op_as_LeakyRelu()->slope()})) return node_fail(i, "slope is not finite");
      break;
    case fb::Op_Clamp: {
      const auto* clamp = node.op_as_Clamp();
      if (!(clamp->min() <= clamp->max()))
        return node_fail(i, "min %g is not below max %g", clamp->min(), clamp->max());
      break;
    }
    case fb::Op_Norm:
    case fb::Op_RmsNorm:
    case fb::Op_L2Norm:
    case fb::Op_GroupNorm: {
      float eps = -1;
      if (const auto* op = node.op_as_Norm()) eps = op->eps();
      if (const auto* op = node.op_as_RmsNorm()) eps = op->eps();
      if (const auto* op = node.op_as_L2Norm()) eps = op->eps();
      if (const auto* op = node.op_as_GroupNorm()) eps = op->eps();
      if (!finite({eps}) || eps < 0) return node_fail(i, "eps %g is negative or not finite", eps);
      break;
    }
    case fb::Op_SoftMax: {
      const auto* op = node.op_as_SoftMax();
      if (!finite({op->scale(), op->max_bias()}) || op->max_bias() < 0)
        return node_fail(i, "scale or max_bias is out of range");
      break;
    }
    case fb::Op_FlashAttn: {
      const auto* op = node.op_as_FlashAttn();
      if (!finite({op->scale(), op->max_bias(), op->softcap()}) || op->max_bias() < 0 || op->softcap() < 0) {
        return node_fail(i, "scale, max_bias or softcap is out of range");
      }
      break;
    }
    case fb::Op_Rope: {
      const auto* r = node.op_as_Rope();
      if (r->mode() != fb::RopeMode_Norm && r->mode() != fb::RopeMode_Neox)
        return node_fail(i, "mode %d is unknown", r->mode());
      if (r->n_dims() < 2 || r->n_dims() % 2 != 0)
        return node_fail(i, "n_dims %d is not an even number >= 2", r->n_dims());
      if (!finite(
              {r->freq_base(), r->freq_scale(), r->ext_factor(), r->attn_factor(), r->beta_fast(), r->beta_slow()}) ||
          r->freq_base() <= 0 || r->n_ctx_orig() < 0) {
        return node_fail(i, "a frequency parameter is out of range");
      }
      break;
    }
    case fb::Op_View: {
      const auto* view = node.op_as_View();
      if (Graph::count(view->strides()) != 4)
        return node_fail(i, "strides has %u entries, not 4", Graph::count(view->strides()));
      ETGGML_RETURN_IF_ERROR(dimensions(view->strides(), node_name(g_, i) + ": strides"));
      ETGGML_RETURN_IF_ERROR(dimension(view->offset(), node_name(g_, i) + ": offset"));
      break;
    }
    case fb::Op_Permute:
      if (!is_permutation(node.op_as_Permute()->axes())) return node_fail(i, "axes is not a permutation of 0..3");
      break;
    case fb::Op_Concat: {
      const int dim = node.op_as_Concat()->dim();
      if (dim < 0 || dim > 3) return node_fail(i, "dim %d is outside 0..3", dim);
      break;
    }
    case fb::Op_Pad: {
      const auto* pad = node.op_as_Pad();
      for (const auto* list : {pad->before(), pad->after()}) {
        if (Graph::count(list) != 4) return node_fail(i, "before and after need 4 entries each");
        for (int32_t amount : *list) {
          if (amount < 0 || amount > (1 << 24)) return node_fail(i, "padding %d is out of range", amount);
        }
      }
      break;
    }
    case fb::Op_Scatter: {
      const fb::ScatterKind kind = node.op_as_Scatter()->kind();
      if (kind < fb::ScatterKind_MIN || kind > fb::ScatterKind_MAX) return node_fail(i, "kind %d is unknown", kind);
      break;
    }
    case fb::Op_TopK:
      if (node.op_as_TopK()->k() < 1) return node_fail(i, "k %d is below 1", node.op_as_TopK()->k());
      break;
    case fb::Op_Im2col: {
      const auto* op = node.op_as_Im2col();
      if (!in_range(1, {op->s0(), op->d0()}) || !in_range(op->is_2d() ? 1 : 0, {op->s1(), op->d1()}) ||
          !in_range(0, {op->p0(), op->p1()})) {
        return node_fail(i, "a stride, dilation or padding is out of range");
      }
      break;
    }
    case fb::Op_MulMat:
      return epilogue(i, node.op_as_MulMat()->then());
    case fb::Op_Conv2d: {
      const auto* op = node.op_as_Conv2d();
      if (!in_range(1, {op->s0(), op->s1(), op->d0(), op->d1()}) || !in_range(0, {op->p0(), op->p1()})) {
        return node_fail(i, "a stride, dilation or padding is out of range");
      }
      return epilogue(i, op->then());
    }
    case fb::Op_Conv3d: {
      const auto* op = node.op_as_Conv3d();
      if (op->channels() < 1) return node_fail(i, "channels %d is below 1", op->channels());
      if (!in_range(1, {op->s0(), op->s1(), op->s2(), op->d0(), op->d1(), op->d2()}) ||
          !in_range(0, {op->p0(), op->p1(), op->p2()})) {
        return node_fail(i, "a stride, dilation or padding is out of range");
      }
      return epilogue(i, op->then());
    }
    case fb::Op_Conv2dDw: {
      const auto* op = node.op_as_Conv2dDw();
      if (!in_range(1, {op->s0(), op->s1(), op->d0(), op->d1()}) || !in_range(0, {op->p0(), op->p1()})) {
        return node_fail(i, "a stride, dilation or padding is out of range");
      }
      break;
    }
    case fb::Op_Recurrence: {
      const auto* op = node.op_as_Recurrence();
      if (op->cell() < fb::Cell_MIN || op->cell() > fb::Cell_MAX) return node_fail(i, "cell %d is unknown", op->cell());
      const uint32_t states = op->cell() == fb::Cell_Lstm ? 5 : 4;
      if (Graph::count(node.src()) != states)
        return node_fail(i, "src has %u values, this cell takes %u", Graph::count(node.src()), states);
      const int64_t steps = g_.shapes()->Get(p_.node(node.src()->Get(1)).shape())->ne()->Get(2);
      if (steps < 1 || steps > kMaxSteps)
        return node_fail(i, "the number of steps must be a literal from 1 to %lld", static_cast<long long>(kMaxSteps));
      break;
    }
    case fb::Op_Pool2d: {
      const auto* op = node.op_as_Pool2d();
      if (op->kind() < fb::PoolKind_MIN || op->kind() > fb::PoolKind_MAX)
        return node_fail(i, "kind %d is unknown", op->kind());
      if (!in_range(1, {op->k0(), op->k1(), op->s0(), op->s1()}) || !in_range(0, {op->p0(), op->p1()}) ||
          op->k0() > 32767 || op->k1() > 32767) {
        return node_fail(i, "a kernel size, stride or padding is out of range");
      }
      break;
    }
    default:
      break;
  }
  return ok_status();
}

// What is written must be a state: never a weight, a constant, an input or scratch memory.
Status Validator::effects() {
  std::vector<bool> in_state(p_.node_count(), false);
  for (uint32_t i = 0; i < p_.node_count(); ++i) {
    const fb::Node& node = p_.node(i);
    switch (node.op_type()) {
      case fb::Op_StateLeaf:
        in_state[i] = true;
        break;
      case fb::Op_View:
      case fb::Op_Reshape:
      case fb::Op_Permute:
        in_state[i] = in_state[node.src()->Get(0)];
        break;
      case fb::Op_SetRows:
      case fb::Op_Cpy: {
        const uint32_t which = node.op_type() == fb::Op_SetRows ? 0 : 1;
        const uint32_t destination = node.src()->Get(which);
        if (!in_state[destination]) {
          return node_fail(i, "src[%u], the destination %s, is not (a view of) a state", which,
                           node_name(g_, destination).c_str());
        }
        in_state[i] = true;
        break;
      }
      default:
        break;
    }
  }
  return ok_status();
}

Status Validator::liveness() {
  p_.live_.assign(p_.node_count(), false);
  for (uint32_t i = 0; i < p_.output_count(); ++i) p_.live_[g_.outputs()->Get(i)->value()] = true;
  for (uint32_t i = p_.node_count(); i-- > 0;) {
    const fb::Node& node = p_.node(i);
    if (node.op_type() == fb::Op_SetRows || node.op_type() == fb::Op_Cpy) p_.live_[i] = true;
    if (!p_.live_[i]) continue;
    if (const auto* leaf = node.op_as_InputLeaf()) p_.input_used_[leaf->input()] = true;
    if (node.op_type() == fb::Op_CausalMask) {
      // The host reads the positions from the input itself: their leaf need not become a tensor.
      p_.input_used_[p_.node(node.src()->Get(0)).op_as_InputLeaf()->input()] = true;
      continue;
    }
    for (uint32_t s = 0; s < Graph::count(node.src()); ++s) p_.live_[node.src()->Get(s)] = true;
  }
  for (bool live : p_.live_) {
    if (live) return ok_status();
  }
  return fail("nodes: the graph has no outputs and changes no state");
}

}  // namespace etggml::ir
