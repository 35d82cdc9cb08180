// Reductions, sorting, running sums along ne[0].
#include "graph/adapt.h"
#include "graph/op_row.h"

namespace etggml::graph {
namespace {

Status f32_rows(const NodeBuilder& b) {
  ETGGML_RETURN_IF_ERROR(b.type_in(0, {GGML_TYPE_F32}));
  return b.dense_rows(0);
}

Shape reduced(const ggml_tensor* x) { return {1, x->ne[1], x->ne[2], x->ne[3]}; }

Result<ggml_tensor*> build_sum(NodeBuilder& b) {
  ETGGML_RETURN_IF_ERROR(b.type_in(0, {GGML_TYPE_F32, GGML_TYPE_F16, GGML_TYPE_BF16}));
  ETGGML_RETURN_IF_ERROR(b.dense_rows(0));
  ETGGML_RETURN_IF_ERROR(b.result_shape({1, 1, 1, 1}));
  return adapt(b, {b.src(0)}, [](ggml_context* ctx, const Sources& s) { return ggml_sum(ctx, s[0]); });
}

Result<ggml_tensor*> build_sum_rows(NodeBuilder& b) {
  ETGGML_RETURN_IF_ERROR(f32_rows(b));
  ETGGML_RETURN_IF_ERROR(b.result_shape(reduced(b.src(0))));
  return adapt(b, {b.src(0)}, [](ggml_context* ctx, const Sources& s) { return ggml_sum_rows(ctx, s[0]); });
}

Result<ggml_tensor*> build_mean(NodeBuilder& b) {
  ETGGML_RETURN_IF_ERROR(f32_rows(b));
  ETGGML_RETURN_IF_ERROR(b.result_shape(reduced(b.src(0))));
  if (b.options().kernels) {
    if (ggml_tensor* ours = b.options().kernels->row_means(b.ctx(), b.src(0))) return ours;
  }
  return adapt(b, {b.src(0)}, [](ggml_context* ctx, const Sources& s) { return ggml_mean(ctx, s[0]); });
}

Result<ggml_tensor*> build_argmax(NodeBuilder& b) {
  ETGGML_RETURN_IF_ERROR(f32_rows(b));
  const ggml_tensor* x = b.src(0);
  if (x->ne[2] != 1 || x->ne[3] != 1)
    return b.fail("src[0] of shape %s is not a matrix", shape_text(shape_of(x)).c_str());
  ETGGML_RETURN_IF_ERROR(b.result_shape({x->ne[1], 1, 1, 1}));
  return adapt(b, {b.src(0)}, [](ggml_context* ctx, const Sources& s) { return ggml_argmax(ctx, s[0]); });
}

Result<ggml_tensor*> build_cumsum(NodeBuilder& b) {
  ETGGML_RETURN_IF_ERROR(f32_rows(b));
  ETGGML_RETURN_IF_ERROR(b.result_shape(shape_of(b.src(0))));
  if (b.options().kernels) {
    if (ggml_tensor* ours = b.options().kernels->running_sum(b.ctx(), b.src(0))) return ours;
  }
  return adapt(b, {b.src(0)}, [](ggml_context* ctx, const Sources& s) { return ggml_cumsum(ctx, s[0]); });
}

}  // namespace

const OpRow kSumRow = row<fb::Op_Sum, build_sum>();
const OpRow kSumRowsRow = row<fb::Op_SumRows, build_sum_rows>();
const OpRow kMeanRow = row<fb::Op_Mean, build_mean>();
const OpRow kArgmaxRow = row<fb::Op_Argmax, build_argmax>();
const OpRow kCumsumRow = row<fb::Op_Cumsum, build_cumsum>();

}  // namespace etggml::graph
