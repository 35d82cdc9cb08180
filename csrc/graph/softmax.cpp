#include "graph/softmax.h"

#include <cmath>

namespace etggml::graph {

ggml_tensor* soft_max_or_zero(NodeBuilder& b, const SoftMaxArgs& args) {
  if (b.options().kernels) {
    if (ggml_tensor* ours = b.options().kernels->soft_max(b.ctx(), args)) return ours;
  }
  // The lowest finite number instead of -inf gives numbers. Weights of -inf are set to zero, and the others, if there
  // are any, brought back to a sum of 1.
  constexpr float kLowest = -3.402823466e38f;
  ggml_context* ctx = b.ctx();
  ggml_tensor* sums = ggml_scale(ctx, args.x, args.scale);
  if (ggml_tensor* mask = args.mask) {
    if (mask->ne[1] != sums->ne[1]) {
      mask = ggml_view_4d(ctx, mask, mask->ne[0], sums->ne[1], mask->ne[2], mask->ne[3], mask->nb[1], mask->nb[2],
                          mask->nb[3], 0);
      mask = ggml_cont(ctx, mask);
    }
    sums = ggml_add(ctx, sums, as_f32(ctx, mask));
  }
  ggml_tensor* seen = ggml_step(ctx, ggml_scale_bias(ctx, sums, 0.5f, -kLowest));
  ggml_tensor* weights = ggml_mul(ctx, ggml_soft_max(ctx, clamped(ctx, sums, kLowest, INFINITY)), seen);
  return ggml_div(ctx, weights, clamped(ctx, ggml_sum_rows(ctx, weights), 1e-30f, INFINITY));
}

}  // namespace etggml::graph
