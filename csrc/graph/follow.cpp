#include "graph/follow.h"

#include <cmath>

#include "graph/adapt.h"

namespace etggml::graph {
namespace {

static_assert(static_cast<int>(Activation::kGeluErf) == fb::Activation_GeluErf &&
                  static_cast<int>(Activation::kGeluTanh) == fb::Activation_GeluTanh &&
                  static_cast<int>(Activation::kSilu) == fb::Activation_Silu &&
                  static_cast<int>(Activation::kSigmoid) == fb::Activation_Sigmoid &&
                  static_cast<int>(Activation::kHardSwish) == fb::Activation_HardSwish &&
                  static_cast<int>(Activation::kHardSigmoid) == fb::Activation_MAX,
              "kernels and schema number activations alike");

ggml_tensor* activate(ggml_context* ctx, ggml_tensor* y, Activation activation) {
  switch (activation) {
    case Activation::kNone:
      return y;
    case Activation::kGeluErf:
      return ggml_gelu_erf(ctx, y);
    case Activation::kGeluTanh:
      return gelu_tanh(ctx, y);
    case Activation::kSilu:
      return ggml_silu(ctx, y);
    case Activation::kSigmoid:
      return ggml_sigmoid(ctx, y);
    case Activation::kHardSwish:
      return ggml_hardswish(ctx, y);
    case Activation::kHardSigmoid:
      return ggml_hardsigmoid(ctx, y);
  }
  return y;
}

}  // namespace

Result<Fused> fused_of(NodeBuilder& b, const fb::Epilogue* then, int64_t count) {
  Fused fused;
  if (b.src_count() > 2) {
    ETGGML_RETURN_IF_ERROR(b.type_in(2, {GGML_TYPE_F32}));
    ETGGML_RETURN_IF_ERROR(b.contiguous(2));
    ETGGML_RETURN_IF_ERROR(b.dense_rows(2));
    fused.bias = b.src(2);
    if (shape_of(fused.bias) != Shape{count, 1, 1, 1}) {
      return b.fail("a bias of shape %s for %lld results", shape_text(shape_of(fused.bias)).c_str(),
                    static_cast<long long>(count));
    }
  }
  if (then) fused.epilogue = {static_cast<Activation>(then->activation()), then->min(), then->max()};
  return fused;
}

ggml_tensor* follow(NodeBuilder& b, ggml_tensor* y, ggml_tensor* bias, const Epilogue& epilogue) {
  ggml_context* ctx = b.ctx();
  Kernels* kernels = b.options().kernels;
  if (bias) y = ggml_add(ctx, y, bias);
  ggml_tensor* kept = nullptr;  // by a kernel of ours, which keeps NaN
  if (kernels && epilogue.activation == Activation::kHardSigmoid) {
    kept = kernels->function(ctx, {Function::kHardSigmoid}, y);
  }
  y = kept ? kept : activate(ctx, y, epilogue.activation);
  if (epilogue.min == -INFINITY && epilogue.max == INFINITY) return y;
  kept = kernels ? kernels->function(ctx, {Function::kClamp, epilogue.min, epilogue.max}, y) : nullptr;
  if (kept) return kept;
  if (epilogue.min == 0.0f && epilogue.max == INFINITY) return ggml_relu(ctx, y);
  return clamped(ctx, y, epilogue.min, epilogue.max);
}

ggml_tensor* gelu_tanh(ggml_context* ctx, ggml_tensor* x) {
  const float c = 2.0f * std::sqrt(2.0f / 3.14159265358979f);
  ggml_tensor* u = ggml_mul(ctx, ggml_scale_bias(ctx, ggml_sqr(ctx, x), 0.044715f * c, c), x);
  return ggml_mul(ctx, x, ggml_sigmoid(ctx, u));
}

}  // namespace etggml::graph
