#include "graph/product.h"

namespace etggml::graph {
namespace {

ggml_tensor* multiply(ggml_context* ctx, ggml_tensor* w, ggml_tensor* x) {
  ggml_tensor* y = ggml_mul_mat(ctx, w, x);
  ggml_prec_set_acc(y, GGML_PREC_F32);
  return y;
}

ggml_tensor* multiply_exact(ggml_context* ctx, ggml_tensor* w, ggml_tensor* x) {
  ggml_tensor* y = multiply(ctx, w, x);
  ggml_prec_set_src(y, GGML_PREC_F32, 1);
  return y;
}

}  // namespace

ggml_tensor* product(NodeBuilder& b, ggml_tensor* w, ggml_tensor* x) {
  const Make plain = [w](ggml_context* ctx, const Sources& s) { return multiply(ctx, w, s[0]); };
  const Make exact = [w](ggml_context* ctx, const Sources& s) { return multiply_exact(ctx, w, s[0]); };
  if (b.options().device && w->type == GGML_TYPE_F32) {
    const Make exact_f32 = [&](ggml_context* ctx, const Sources& s) { return exact(ctx, {as_f32(ctx, s[0])}); };
    if (device_runs(b, {x}, exact_f32)) return exact_f32(b.ctx(), {x});
  }
  return adapt(b, {x}, plain);
}

}  // namespace etggml::graph
