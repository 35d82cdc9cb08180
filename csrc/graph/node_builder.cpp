#include "graph/node_builder.h"

#include <cstdarg>

#include "ir/validate.h"

namespace etggml::graph {

using ll = long long;

std::string shape_text(const Shape& ne) {
  return format("[%lld, %lld, %lld, %lld]", static_cast<ll>(ne[0]), static_cast<ll>(ne[1]), static_cast<ll>(ne[2]),
                static_cast<ll>(ne[3]));
}

NodeBuilder::NodeBuilder(BuildState& state, uint32_t index)
    : state_(state),
      index_(index),
      node_(state.ir_graph.node(index)),
      ne_(state.ir_graph.node_shape(index, state.symbols)) {}

Status NodeBuilder::message(etggml_status code, const char* text, va_list args) const {
  return Status(code, state_.ir_graph.origin() + ": " + ir::node_name(state_.ir_graph.payload(), index_) + ": " +
                          vformat(text, args));
}

Status NodeBuilder::fail(const char* text, ...) const {
  va_list args;
  va_start(args, text);
  Status status = message(ETGGML_FORMAT, text, args);
  va_end(args);
  return status;
}

Status NodeBuilder::unsupported(const char* text, ...) const {
  va_list args;
  va_start(args, text);
  Status status = message(ETGGML_UNSUPPORTED, text, args);
  va_end(args);
  return status;
}

Status NodeBuilder::type_problem(uint32_t i, const char* what) const {
  const std::string source = ir::node_name(state_.ir_graph.payload(), node_.src()->Get(i));
  const char* type = ggml_type_name(src(i)->type);
  return src_open(i) ? unsupported("src[%u], %s, is %s: %s", i, source.c_str(), type, what)
                     : fail("src[%u], %s, is %s: %s", i, source.c_str(), type, what);
}

Status NodeBuilder::type_in(uint32_t i, std::initializer_list<ggml_type> types) const {
  std::string accepted;
  for (ggml_type t : types) {
    if (src(i)->type == t) return ok_status();
    accepted += accepted.empty() ? "expected " : " or ";
    accepted += ggml_type_name(t);
  }
  return type_problem(i, accepted.c_str());
}

Status NodeBuilder::contiguous(uint32_t i) const {
  return ggml_is_contiguous(src(i)) ? ok_status() : fail("src[%u] is not contiguous", i);
}

Status NodeBuilder::dense_rows(uint32_t i) const {
  return src(i)->nb[0] == ggml_type_size(src(i)->type) ? ok_status()
                                                       : fail("the rows of src[%u] are not contiguous", i);
}

Status NodeBuilder::contiguous_1(uint32_t i) const {
  return ggml_is_contiguous_1(src(i)) && src(i)->nb[0] == ggml_type_size(src(i)->type)
             ? ok_status()
             : fail("the rows of src[%u] are not contiguous and evenly spaced", i);
}

Status NodeBuilder::same_shape(uint32_t a, uint32_t b) const {
  if (ggml_are_same_shape(src(a), src(b))) return ok_status();
  return fail("src[%u] has shape %s, src[%u] has %s; they must be the same", a, shape_text(shape_of(src(a))).c_str(), b,
              shape_text(shape_of(src(b))).c_str());
}

Status NodeBuilder::result_shape(const Shape& expected) const {
  if (expected == ne_) return ok_status();
  return fail("shape says %s, its sources give %s", shape_text(ne_).c_str(), shape_text(expected).c_str());
}

Status NodeBuilder::elements_in_int() const {
  return ir::element_count(ne_) <= INT32_MAX ? ok_status() : fail("more than 2^31 - 1 elements cannot be copied");
}

OpFunction op_function(fb::Op op) {
  switch (op) {
    case fb::Op_InputLeaf:
      return build_input_leaf;
    case fb::Op_WeightLeaf:
      return build_weight_leaf;
    case fb::Op_StateLeaf:
      return build_state_leaf;
    case fb::Op_ConstLeaf:
      return build_const_leaf;
    case fb::Op_CausalMask:
      return build_causal_mask;
    case fb::Op_Unary:
      return build_unary;
    case fb::Op_LeakyRelu:
      return build_leaky_relu;
    case fb::Op_Clamp:
      return build_clamp;
    case fb::Op_Scale:
      return build_scale;
    case fb::Op_Binary:
      return build_binary;
    case fb::Op_Glu:
      return build_glu;
    case fb::Op_MulMat:
      return build_mul_mat;
    case fb::Op_MulMatId:
      return build_mul_mat_id;
    case fb::Op_Norm:
      return build_norm;
    case fb::Op_RmsNorm:
      return build_rms_norm;
    case fb::Op_GroupNorm:
      return build_group_norm;
    case fb::Op_L2Norm:
      return build_l2_norm;
    case fb::Op_SoftMax:
      return build_soft_max;
    case fb::Op_Rope:
      return build_rope;
    case fb::Op_FlashAttn:
      return build_flash_attn;
    case fb::Op_GetRows:
      return build_get_rows;
    case fb::Op_SetRows:
      return build_set_rows;
    case fb::Op_Scatter:
      return build_scatter;
    case fb::Op_Cpy:
      return build_cpy;
    case fb::Op_Cast:
      return build_cast;
    case fb::Op_Cont:
      return build_cont;
    case fb::Op_Reshape:
      return build_reshape;
    case fb::Op_View:
      return build_view;
    case fb::Op_Permute:
      return build_permute;
    case fb::Op_Repeat:
      return build_repeat;
    case fb::Op_Concat:
      return build_concat;
    case fb::Op_Pad:
      return build_pad;
    case fb::Op_Fill:
      return build_fill;
    case fb::Op_Sum:
      return build_sum;
    case fb::Op_SumRows:
      return build_sum_rows;
    case fb::Op_Mean:
      return build_mean;
    case fb::Op_Argmax:
      return build_argmax;
    case fb::Op_Argsort:
      return build_argsort;
    case fb::Op_TopK:
      return build_top_k;
    case fb::Op_Cumsum:
      return build_cumsum;
    case fb::Op_Im2col:
      return build_im2col;
    case fb::Op_Conv2dDw:
      return build_conv2d_dw;
    case fb::Op_Conv2d:
      return build_conv2d;
    case fb::Op_Conv3d:
      return build_conv3d;
    case fb::Op_Pool2d:
      return build_pool2d;
    case fb::Op_Recurrence:
      return build_recurrence;
    case fb::Op_NONE:
      return nullptr;
  }
  return nullptr;
}

}  // namespace etggml::graph
