// Unary, binary and gated elementwise ops.
#include <cmath>

#include "graph/adapt.h"
#include "graph/follow.h"
#include "graph/op_row.h"
#include "kernels/functions.h"

namespace etggml::graph {
namespace {

/// exp(x) - 1 with all digits near 0, of ggml's ELU: for x above 0 exp(x) times -(exp(-x) - 1). NaN stays NaN.
ggml_tensor* exact_expm1(ggml_context* ctx, ggml_tensor* x) {
  ggml_tensor* above = ggml_relu(ctx, x);
  ggml_tensor* below = ggml_neg(ctx, ggml_relu(ctx, ggml_neg(ctx, x)));
  ggml_tensor* grown = ggml_mul(ctx, ggml_elu(ctx, ggml_neg(ctx, above)), ggml_exp(ctx, above));
  ggml_tensor* is_number = ggml_step(ctx, ggml_scale_bias(ctx, ggml_abs(ctx, x), 1.0f, 1.0f));
  return ggml_div(ctx, ggml_sub(ctx, ggml_elu(ctx, below), grown), is_number);
}

/// max(x, 0) + log(1 + e) with e = exp(-|x|): u = 1 + e lost u - 1 - e in rounding, which the logarithm needs.
ggml_tensor* exact_softplus(ggml_context* ctx, ggml_tensor* x) {
  ggml_tensor* e = ggml_exp(ctx, ggml_neg(ctx, ggml_abs(ctx, x)));
  ggml_tensor* u = ggml_scale_bias(ctx, e, 1.0f, 1.0f);
  ggml_tensor* lost = ggml_div(ctx, ggml_sub(ctx, ggml_scale_bias(ctx, u, 1.0f, -1.0f), e), u);
  return ggml_add(ctx, ggml_relu(ctx, x), ggml_sub(ctx, ggml_log(ctx, u), lost));
}

ggml_tensor* unary(ggml_context* ctx, fb::UnaryKind kind, float parameter, ggml_tensor* x) {
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
      return exact_softplus(ctx, x);
    case fb::UnaryKind_Expm1:
      return exact_expm1(ctx, x);
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
    case fb::UnaryKind_Power:
      return ggml_exp(ctx, ggml_scale(ctx, ggml_log(ctx, x), parameter));
    case fb::UnaryKind_PowerOf:
      return ggml_exp(ctx, ggml_scale(ctx, x, std::log(parameter)));
    case fb::UnaryKind_Tanhshrink:
      return ggml_sub(ctx, x, ggml_tanh(ctx, x));
    case fb::UnaryKind_Erfinv:
    case fb::UnaryKind_Lgamma:
    case fb::UnaryKind_Digamma:
      break;  // of the CPU alone
  }
  return nullptr;
}

/// The kernel of ours for a function, if there is one.
bool function_of(fb::UnaryKind kind, kernels::FunctionArgs& args) {
  switch (kind) {
    case fb::UnaryKind_Relu:
      return args.kind = kernels::Function::kRelu, true;
    case fb::UnaryKind_HardSigmoid:
      return args.kind = kernels::Function::kHardSigmoid, true;
    case fb::UnaryKind_Softplus:
      return args.kind = kernels::Function::kSoftplus, true;
    case fb::UnaryKind_Expm1:
      return args.kind = kernels::Function::kExpm1, true;
    case fb::UnaryKind_Power:
      return args.kind = kernels::Function::kPower, true;
    case fb::UnaryKind_PowerOf:
      return args.kind = kernels::Function::kPowerOf, true;
    case fb::UnaryKind_Tanhshrink:
      return args.kind = kernels::Function::kTanhshrink, true;
    case fb::UnaryKind_Erfinv:
      return args.kind = kernels::Function::kErfinv, true;
    case fb::UnaryKind_Lgamma:
      return args.kind = kernels::Function::kLgamma, true;
    case fb::UnaryKind_Digamma:
      return args.kind = kernels::Function::kDigamma, true;
    default:
      return false;
  }
}

/// A kernel of ours that computes it, or nullptr.
ggml_tensor* ours(NodeBuilder& b, const kernels::FunctionArgs& args) {
  return b.options().kernels ? b.options().kernels->function(b.ctx(), args, b.src(0)) : nullptr;
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

/// y may be nullptr: gate and value are both in x.
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

Status check_unary(const ir::NodeCheck& c) {
  return c.known("kind", c.node().op_as_Unary()->kind(), fb::UnaryKind_MIN, fb::UnaryKind_MAX);
}

Result<ggml_tensor*> build_unary(NodeBuilder& b) {
  ETGGML_RETURN_IF_ERROR(b.type_in(0, {GGML_TYPE_F32, GGML_TYPE_F16, GGML_TYPE_BF16}));
  ETGGML_RETURN_IF_ERROR(b.dense_rows(0));
  ETGGML_RETURN_IF_ERROR(b.result_shape(shape_of(b.src(0))));
  const fb::UnaryKind kind = b.node().op_as_Unary()->kind();
  if (kind == fb::UnaryKind_GeluTanh || kind == fb::UnaryKind_Softplus || kind == fb::UnaryKind_Expm1) {
    ETGGML_RETURN_IF_ERROR(b.contiguous(0));
    ETGGML_RETURN_IF_ERROR(b.type_in(0, {GGML_TYPE_F32}));
  }
  if (b.options().kernels && (kind == fb::UnaryKind_Tanh || kind == fb::UnaryKind_Sigmoid)) {
    const kernels::UnaryOp op = kind == fb::UnaryKind_Tanh ? kernels::UnaryOp::kTanh : kernels::UnaryOp::kSigmoid;
    if (ggml_tensor* y = b.options().kernels->unary(b.ctx(), op, b.src(0))) return y;
  }
  kernels::FunctionArgs args;
  args.a = b.node().op_as_Unary()->parameter();
  if (function_of(kind, args)) {
    if (ggml_tensor* y = ours(b, args)) return y;
  }
  if (kind >= fb::UnaryKind_Erfinv) {
    if (b.options().device) {
      return b.unsupported("erfinv, lgamma and digamma are kernels of the CPU; this device has none, run it there");
    }
    ETGGML_RETURN_IF_ERROR(b.contiguous(0));
    ETGGML_RETURN_IF_ERROR(b.type_in(0, {GGML_TYPE_F32}));
    if (ggml_tensor* y = kernels::function(b.ctx(), args, b.src(0))) return y;
    return b.fail("src[0] has too many elements");
  }
  return adapt(b, {b.src(0)}, [&](ggml_context* ctx, const Sources& s) { return unary(ctx, kind, args.a, s[0]); });
}

Status check_leaky_relu(const ir::NodeCheck& c) {
  return ir::finite({c.node().op_as_LeakyRelu()->slope()}) ? ok_status() : c.fail("slope is not finite");
}

// The kernels of leaky_relu and clamp step from row to row by nb[1] alone, at any rank.
Result<ggml_tensor*> build_leaky_relu(NodeBuilder& b) {
  ETGGML_RETURN_IF_ERROR(b.type_in(0, {GGML_TYPE_F32, GGML_TYPE_F16}));
  ETGGML_RETURN_IF_ERROR(b.contiguous_1(0));
  ETGGML_RETURN_IF_ERROR(b.result_shape(shape_of(b.src(0))));
  const float slope = b.node().op_as_LeakyRelu()->slope();
  if (ggml_tensor* y = ours(b, {kernels::Function::kLeakyRelu, slope})) return y;
  return adapt(b, {b.src(0)}, [slope](ggml_context* ctx, const Sources& s) {
    return ggml_leaky_relu(ctx, s[0], slope, /*inplace=*/false);
  });
}

Status check_clamp(const ir::NodeCheck& c) {
  const auto& clamp = *c.node().op_as_Clamp();
  return clamp.min() <= clamp.max() ? ok_status() : c.fail("min %g is not below max %g", clamp.min(), clamp.max());
}

Result<ggml_tensor*> build_clamp(NodeBuilder& b) {
  ETGGML_RETURN_IF_ERROR(b.type_in(0, {GGML_TYPE_F32, GGML_TYPE_F16}));
  ETGGML_RETURN_IF_ERROR(b.contiguous_1(0));
  ETGGML_RETURN_IF_ERROR(b.result_shape(shape_of(b.src(0))));
  const auto* clamp = b.node().op_as_Clamp();
  if (clamp->keeps_nan()) {
    if (ggml_tensor* y = ours(b, {kernels::Function::kClamp, clamp->min(), clamp->max()})) return y;
  }
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

Status check_binary(const ir::NodeCheck& c) {
  return c.known("kind", c.node().op_as_Binary()->kind(), fb::BinaryKind_MIN, fb::BinaryKind_MAX);
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
  if (b.options().kernels) {
    static_assert(fb::BinaryKind_Add == 0 && fb::BinaryKind_Sub == 1 && fb::BinaryKind_Mul == 2 &&
                      fb::BinaryKind_Div == 3 && fb::BinaryKind_MAX == 3,
                  "RowOp is in the same order");
    if (ggml_tensor* ours = b.options().kernels->per_row(b.ctx(), static_cast<kernels::RowOp>(kind), x, y)) return ours;
  }
  return adapt(b, {x, y}, [kind](ggml_context* ctx, const Sources& s) { return binary(ctx, kind, s[0], s[1]); });
}

Status check_glu(const ir::NodeCheck& c) {
  const auto& glu = *c.node().op_as_Glu();
  ETGGML_RETURN_IF_ERROR(c.known("kind", glu.kind(), fb::GluKind_MIN, fb::GluKind_MAX));
  if (glu.swapped() && (c.src_count() == 2 || glu.kind() == fb::GluKind_SwigluOai)) {
    return c.fail("swapped needs one source, and a kind other than SwigluOai");
  }
  return ok_status();
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

}  // namespace

const OpRow kUnaryRow = row<fb::Op_Unary, build_unary, check_unary>();
const OpRow kLeakyReluRow = row<fb::Op_LeakyRelu, build_leaky_relu, check_leaky_relu>();
const OpRow kClampRow = row<fb::Op_Clamp, build_clamp, check_clamp>();
const OpRow kScaleRow = row<fb::Op_Scale, build_scale, any_fields>();
const OpRow kBinaryRow = row<fb::Op_Binary, build_binary, check_binary>();
const OpRow kGluRow = row<fb::Op_Glu, build_glu, check_glu>();

}  // namespace etggml::graph
