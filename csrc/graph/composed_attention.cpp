#include "graph/composed_attention.h"

#include "graph/product.h"
#include "graph/softmax.h"

namespace etggml::graph {
namespace {

// Far below any score and far above minus infinity.
constexpr float kNothing = -1e30f;

/// Softmax over a fully masked row is 0 / 0, but fused attention returns 0. An extra key per head with a score of -1e30
/// makes the denominator 1. One tensor for all layers of a model.
ggml_tensor* no_sinks(NodeBuilder& b, int64_t heads) {
  ggml_tensor*& t = b.state().no_sinks[heads];
  if (!t) {
    ggml_context* ctx = b.ctx();
    t = ggml_scale_bias(ctx, ggml_arange(ctx, 0.0f, static_cast<float>(heads), 1.0f), 0.0f, kNothing);
  }
  return t;
}

}  // namespace

ggml_tensor* composed_attention(NodeBuilder& b, const kernels::AttentionArgs& args) {
  ggml_context* ctx = b.ctx();
  // Heads of q share those of k and v as products do: in order, so many for each.
  ggml_tensor* scores = product(b, as_f32(ctx, args.k), args.q);  // [S, T, H, B]
  float scale = args.scale;
  if (args.softcap != 0.0f) {
    scores = ggml_tanh(ctx, ggml_scale(ctx, scores, scale / args.softcap));
    scale = args.softcap;
  }
  ggml_tensor* weights = nullptr;
  // Without a mask all scores of a row are -inf only if keys are infinite: no reason to make a GPU slower.
  const bool may_be_zero = args.mask ? args.hidden != kernels::HiddenKeys::kPassed : b.options().kernels != nullptr;
  if (may_be_zero && !args.sinks && args.max_bias == 0.0f) {
    weights = soft_max_or_zero(b, {scores, args.mask, scale, args.hidden == kernels::HiddenKeys::kCausal});
  } else {
    weights = ggml_soft_max_ext(ctx, scores, args.mask, scale, args.max_bias);
    if (args.sinks || args.mask) ggml_soft_max_add_sinks(weights, args.sinks ? args.sinks : no_sinks(b, args.q->ne[2]));
  }
  ggml_tensor* v = ggml_is_quantized(args.v->type) ? as_f32(ctx, args.v) : args.v;
  v = ggml_permute(ctx, v, 1, 0, 2, 3);  // [S, Dv, Hkv, B]
  v = v->type == GGML_TYPE_F32 ? ggml_cont(ctx, v) : ggml_cast(ctx, v, GGML_TYPE_F32);
  ggml_tensor* y = product(b, v, weights);  // [Dv, T, H, B]
  return ggml_cont(ctx, ggml_permute(ctx, y, 0, 2, 1, 3));
}

}  // namespace etggml::graph
