// Unary, binary and gated elementwise ops.
#include "graph/adapt.h"
#include "graph/follow.h"

namespace etggml::graph {
namespace {

ggml_tensor* unary(ggml_context* ctx, fb::UnaryKind kind, ggml_tensor* x) {
  switch (kind) {
    case fb::UnaryKind_Abs:
      return ggml_abs(ctx, x);
    case fb::UnaryKind_Sgn:
      return ggml_sgn(ctx, x);
    case fb::UnaryKind_Neg:
      return ggml_neg(ctx, x);
    case fb::UnaryKind_Step:
      return ggml_step(ctx, x);
    case fb::UnaryKind_Tanh:
      return ggml_tanh(ctx, x);
    case fb::UnaryKind_Elu:
      return ggml_elu(ctx, x);
    case fb::UnaryKind_Relu:
      return ggml_relu(ctx, x);
    case fb::UnaryKind_Sigmoid:
      return ggml_sigmoid(ctx, x);
    case fb::UnaryKind_Gelu:
      return ggml_gelu(ctx, x);
    case fb::UnaryKind_GeluQuick:
      return ggml_gelu_quick(ctx, x);
    case fb::UnaryKind_Silu:
      return ggml_silu(ctx, x);
    case fb::UnaryKind_HardSwish:
      return ggml_hardswish(ctx, x);
    case fb::UnaryKind_HardSigmoid:
      return ggml_hardsigmoid(ctx, x);
    case fb::UnaryKind_Exp:
      return ggml_exp(ctx, x);
    case fb::UnaryKind_GeluErf:
      return ggml_gelu_erf(ctx, x);
    case fb::UnaryKind_Softplus:
      return ggml_softplus(ctx, x);
    case fb::UnaryKind_Expm1:
      return ggml_expm1(ctx, x);
    case fb::UnaryKind_Floor:
      return ggml_floor(ctx, x);
    case fb::UnaryKind_Ceil:
      return ggml_ceil(ctx, x);
    case fb::UnaryKind_Round:
      return ggml_round(ctx, x);
    case fb::UnaryKind_Trunc:
      return ggml_trunc(ctx, x);
    case fb::UnaryKind_Sqr:
      return ggml_sqr(ctx, x);
    case fb::UnaryKind_Sqrt:
      return ggml_sqrt(ctx, x);
    case fb::UnaryKind_Log:
      return ggml_log(ctx, x);
    case fb::UnaryKind_Sin:
      return ggml_sin(ctx, x);
    case fb::UnaryKind_Cos:
      return ggml_cos(ctx, x);
    case fb::UnaryKind_GeluTanh:
      return gelu_tanh(ctx, x);
  }
  return nullptr;
}

ggml_tensor* binary(ggml_context* ctx, fb::BinaryKind kind, ggml_tensor* x, ggml_tensor* y) {
  switch (kind) {
    case fb::BinaryKind_Add:
      return ggml_add(ctx, x, y);
    case fb::BinaryKind_Sub:
      return ggml_sub(ctx, x, y);
    case fb::BinaryKind_Mul:
      return ggml_mul(ctx, x, y);
    case fb::BinaryKind_Div:
      return ggml_div(ctx, x, y);
  }
  return nullptr;
}

/// y may be nullptr: both halves are in x.
ggml_tensor* gated(ggml_context* ctx, const fb::Glu& glu, ggml_tensor* x, ggml_tensor* y) {
  // The constants of the gated unit that OpenAI's open-weight models define; ggml takes them as parameters.
  constexpr float kOaiAlpha = 1.702f, kOaiLimit = 7.0f;
  ggml_glu_op op = GGML_GLU_OP_SWIGLU;
  switch (glu.kind()) {
    case fb::GluKind_Reglu:
      op = GGML_GLU_OP_REGLU;
      break;
    case fb::GluKind_Geglu:
      op = GGML_GLU_OP_GEGLU;
      break;
    case fb::GluKind_Swiglu:
      op = GGML_GLU_OP_SWIGLU;
      break;
    case fb::GluKind_SwigluOai:
      return ggml_swiglu_oai(ctx, x, y, kOaiAlpha, kOaiLimit);
    case fb::GluKind_GegluErf:
      op = GGML_GLU_OP_GEGLU_ERF;
      break;
    case fb::GluKind_GegluQuick:
      op = GGML_GLU_OP_GEGLU_QUICK;
      break;
  }
  return y ? ggml_glu_split(ctx, x, y, op) : ggml_glu(ctx, x, op, glu.swapped());
}

}  // namespace

Result<ggml_tensor*> build_unary(NodeBuilder& b) {
  ETGGML_RETURN_IF_ERROR(b.type_in(0, {GGML_TYPE_F32, GGML_TYPE_F16, GGML_TYPE_BF16}));
  ETGGML_RETURN_IF_ERROR(b.dense_rows(0));
  ETGGML_RETURN_IF_ERROR(b.result_shape(shape_of(b.src(0))));
  const fb::UnaryKind kind = b.node().op_as_Unary()->kind();
  if (kind < fb::UnaryKind_MIN || kind > fb::UnaryKind_MAX) return b.fail("kind is unknown");
  if (kind == fb::UnaryKind_GeluTanh) {
    ETGGML_RETURN_IF_ERROR(b.contiguous(0));
    ETGGML_RETURN_IF_ERROR(b.type_in(0, {GGML_TYPE_F32}));
  }
  if (b.options().kernels && (kind == fb::UnaryKind_Tanh || kind == fb::UnaryKind_Sigmoid)) {
    const UnaryOp op = kind == fb::UnaryKind_Tanh ? UnaryOp::kTanh : UnaryOp::kSigmoid;
    if (ggml_tensor* ours = b.options().kernels->unary(b.ctx(), op, b.src(0))) return ours;
  }
  return adapt(b, {b.src(0)}, [kind](ggml_context* ctx, const Sources& s) { return unary(ctx, kind, s[0]); });
}

// The kernels of leaky_relu and clamp step from row to row by nb[1] alone, whatever the rank.
Result<ggml_tensor*> build_leaky_relu(NodeBuilder& b) {
  ETGGML_RETURN_IF_ERROR(b.type_in(0, {GGML_TYPE_F32, GGML_TYPE_F16}));
  ETGGML_RETURN_IF_ERROR(b.contiguous_1(0));
  ETGGML_RETURN_IF_ERROR(b.result_shape(shape_of(b.src(0))));
  const float slope = b.node().op_as_LeakyRelu()->slope();
  return adapt(b, {b.src(0)}, [slope](ggml_context* ctx, const Sources& s) {
    return ggml_leaky_relu(ctx, s[0], slope, /*inplace=*/false);
  });
}

Result<ggml_tensor*> build_clamp(NodeBuilder& b) {
  ETGGML_RETURN_IF_ERROR(b.type_in(0, {GGML_TYPE_F32, GGML_TYPE_F16}));
  ETGGML_RETURN_IF_ERROR(b.contiguous_1(0));
  ETGGML_RETURN_IF_ERROR(b.result_shape(shape_of(b.src(0))));
  const auto* clamp = b.node().op_as_Clamp();
  return adapt(b, {b.src(0)}, [clamp](ggml_context* ctx, const Sources& s) {
    return ggml_clamp(ctx, s[0], clamp->min(), clamp->max());
  });
}

Result<ggml_tensor*> build_scale(NodeBuilder& b) {
  ETGGML_RETURN_IF_ERROR(b.type_in(0, {GGML_TYPE_F32, GGML_TYPE_BF16}));
  ETGGML_RETURN_IF_ERROR(b.contiguous(0));
  ETGGML_RETURN_IF_ERROR(b.dense_rows(0));
  ETGGML_RETURN_IF_ERROR(b.result_shape(shape_of(b.src(0))));
  const auto* scale = b.node().op_as_Scale();
  return adapt(b, {b.src(0)}, [scale](ggml_context* ctx, const Sources& s) {
    return ggml_scale_bias(ctx, s[0], scale->scale(), scale->bias());
  });
}

Result<ggml_tensor*> build_binary(NodeBuilder& b) {
  ggml_tensor* x = b.src(0);
  ggml_tensor* y = b.src(1);
  ETGGML_RETURN_IF_ERROR(b.type_in(0, {GGML_TYPE_F32, GGML_TYPE_F16, GGML_TYPE_BF16}));
  if (x->type == GGML_TYPE_F32) {
    ETGGML_RETURN_IF_ERROR(b.type_in(1, {GGML_TYPE_F32}));
  } else {
    ETGGML_RETURN_IF_ERROR(b.type_in(1, {x->type, GGML_TYPE_F32}));
  }
  ETGGML_RETURN_IF_ERROR(b.dense_rows(0));
  for (int d = 0; d < 4; ++d) {
    if (x->ne[d] % y->ne[d] != 0) {
      return b.fail("src[1] of shape %s does not repeat into src[0] of shape %s", shape_text(shape_of(y)).c_str(),
                    shape_text(shape_of(x)).c_str());
    }
  }
  ETGGML_RETURN_IF_ERROR(b.result_shape(shape_of(x)));
  const fb::BinaryKind kind = b.node().op_as_Binary()->kind();
  if (kind < fb::BinaryKind_MIN || kind > fb::BinaryKind_MAX) return b.fail("kind is unknown");
  if (b.options().kernels) {
    static_assert(fb::BinaryKind_Add == 0 && fb::BinaryKind_Sub == 1 && fb::BinaryKind_Mul == 2 &&
                      fb::BinaryKind_Div == 3 && fb::BinaryKind_MAX == 3,
                  "RowOp is in the same order");
    if (ggml_tensor* ours = b.options().kernels->per_row(b.ctx(), static_cast<RowOp>(kind), x, y)) return ours;
  }
  return adapt(b, {x, y}, [kind](ggml_context* ctx, const Sources& s) { return binary(ctx, kind, s[0], s[1]); });
}

Result<ggml_tensor*> build_glu(NodeBuilder& b) {
  const auto* glu = b.node().op_as_Glu();
  const bool split = b.src_count() == 2;
  for (uint32_t i = 0; i < b.src_count(); ++i) {
    if (glu->kind() == fb::GluKind_SwigluOai) {
      ETGGML_RETURN_IF_ERROR(b.type_in(i, {GGML_TYPE_F32}));
    } else {
      ETGGML_RETURN_IF_ERROR(b.type_in(i, {GGML_TYPE_F32, GGML_TYPE_F16, GGML_TYPE_BF16}));
    }
    ETGGML_RETURN_IF_ERROR(b.contiguous_1(i));
  }
  ggml_tensor* x = b.src(0);
  ggml_tensor* y = split ? b.src(1) : nullptr;
  Shape ne = shape_of(x);
  if (split) {
    ETGGML_RETURN_IF_ERROR(b.same_shape(0, 1));
    if (x->type != y->type)
      return b.fail("its sources are %s and %s", ggml_type_name(x->type), ggml_type_name(y->type));
  } else {
    if (ne[0] % 2 != 0) return b.fail("rows of %lld elements have no halves", static_cast<long long>(ne[0]));
    ne[0] /= 2;
  }
  ETGGML_RETURN_IF_ERROR(b.result_shape(ne));
  const Sources src = split ? Sources{x, y} : Sources{x};
  return adapt(b, src, [glu](ggml_context* ctx, const Sources& s) {
    return gated(ctx, *glu, s[0], s.size() > 1 ? s[1] : nullptr);
  });
}

}  // namespace etggml::graph
