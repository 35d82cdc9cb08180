#include "graph/product.h"

namespace etggml::graph {
namespace {

/// `multiply` makes the product of its one source.
ggml_tensor* precise(NodeBuilder& b, ggml_tensor* w, ggml_tensor* x, const Make& multiply) {
  const Make plain = [&](ggml_context* ctx, const Sources& s) {
    ggml_tensor* y = multiply(ctx, s);
    ggml_prec_set_acc(y, GGML_PREC_F32);
    return y;
  };
  const Make exact = [&](ggml_context* ctx, const Sources& s) {
    ggml_tensor* y = plain(ctx, {as_f32(ctx, s[0])});
    ggml_prec_set_src(y, GGML_PREC_F32, 1);
    return y;
  };
  const bool tell = b.options().device && w->type == GGML_TYPE_F32;
  return tell && device_runs(b, {x}, exact) ? exact(b.ctx(), {x}) : adapt(b, {x}, plain);
}

}  // namespace

ggml_tensor* product(NodeBuilder& b, ggml_tensor* w, ggml_tensor* x) {
  return precise(b, w, x, [w](ggml_context* ctx, const Sources& s) { return ggml_mul_mat(ctx, w, s[0]); });
}

ggml_tensor* expert_product(NodeBuilder& b, ggml_tensor* experts, ggml_tensor* x, ggml_tensor* ids) {
  return precise(b, experts, x,
                 [=](ggml_context* ctx, const Sources& s) { return ggml_mul_mat_id(ctx, experts, s[0], ids); });
}

}  // namespace etggml::graph
