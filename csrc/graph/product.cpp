#include "graph/product.h"

namespace etggml::graph {
namespace {

/// Experts of a token that are multiplied one after the other at most.
constexpr int64_t kExpertsApart = 16;

/// `multiply` makes the product of its one source.
ggml_tensor* precise(NodeBuilder& b, ggml_tensor* w, ggml_tensor* x, const Make& multiply) {
  const Make plain = [&](ggml_context* ctx, const Sources& s) {
    ggml_tensor* y = multiply(ctx, s);
    y->op_params[0] = GGML_PREC_F32;  // ggml_mul_mat_set_prec() refuses products of experts
    return y;
  };
  const Make exact = [&](ggml_context* ctx, const Sources& s) {
    ggml_tensor* y = plain(ctx, {as_f32(ctx, s[0])});
    y->op_params[3] = GGML_PREC_F32;  // read by ggml-cuda-precision.patch only
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
  if (b.options().device && !ggml_is_contiguous(x)) x = ggml_cont(b.ctx(), x);
  const Make whole = [=](ggml_context* c, const Sources& s) { return ggml_mul_mat_id(c, experts, s[0], ids); };
  if (device_runs(b, {x}, whole) || ids->ne[0] > kExpertsApart) return precise(b, experts, x, whole);
  // GPU kernels want the experts of a token to be different ones. Apart they always are.
  ggml_tensor* y = nullptr;
  for (int64_t i = 0; i < ids->ne[0]; ++i) {
    ggml_context* ctx = b.ctx();
    ggml_tensor* id = ggml_view_2d(ctx, ids, 1, ids->ne[1], ids->nb[1], static_cast<size_t>(i) * ids->nb[0]);
    ggml_tensor* row = x;
    if (x->ne[1] > 1) {
      const size_t at = static_cast<size_t>(i % x->ne[1]) * x->nb[1];
      row = ggml_cont(ctx, ggml_view_3d(ctx, x, x->ne[0], 1, x->ne[2], x->nb[1], x->nb[2], at));
    }
    ggml_tensor* one = precise(
        b, experts, row, [=](ggml_context* c, const Sources& s) { return ggml_mul_mat_id(c, experts, s[0], id); });
    y = y ? ggml_concat(ctx, y, one, 1) : one;
  }
  return y;
}

}  // namespace etggml::graph
