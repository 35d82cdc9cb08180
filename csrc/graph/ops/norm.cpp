// Normalisations along ne[0] (GroupNorm: along ne[0], ne[1] and a group of channels ne[2]).
#include "graph/adapt.h"

namespace etggml::graph {
namespace {

Status row_norm(const NodeBuilder& b) {
  ETGGML_RETURN_IF_ERROR(b.type_in(0, {GGML_TYPE_F32}));
  ETGGML_RETURN_IF_ERROR(b.dense_rows(0));
  return b.result_shape(shape_of(b.src(0)));
}

}  // namespace

Result<ggml_tensor*> build_norm(NodeBuilder& b) {
  ETGGML_RETURN_IF_ERROR(row_norm(b));
  const float eps = b.node().op_as_Norm()->eps();
  return adapt(b, {b.src(0)}, [=](ggml_context* ctx, const Sources& s) { return ggml_norm(ctx, s[0], eps); });
}

Result<ggml_tensor*> build_rms_norm(NodeBuilder& b) {
  ETGGML_RETURN_IF_ERROR(row_norm(b));
  const float eps = b.node().op_as_RmsNorm()->eps();
  return adapt(b, {b.src(0)}, [=](ggml_context* ctx, const Sources& s) { return ggml_rms_norm(ctx, s[0], eps); });
}

Result<ggml_tensor*> build_l2_norm(NodeBuilder& b) {
  ETGGML_RETURN_IF_ERROR(row_norm(b));
  const float eps = b.node().op_as_L2Norm()->eps();
  return adapt(b, {b.src(0)}, [=](ggml_context* ctx, const Sources& s) { return ggml_l2_norm(ctx, s[0], eps); });
}

Result<ggml_tensor*> build_group_norm(NodeBuilder& b) {
  ETGGML_RETURN_IF_ERROR(row_norm(b));
  const auto* op = b.node().op_as_GroupNorm();
  const int64_t channels = b.src(0)->ne[2];
  if (op->groups() < 1 || channels % op->groups() != 0) {
    return b.fail("groups %d does not divide %lld channels", op->groups(), static_cast<long long>(channels));
  }
  return adapt(b, {b.src(0)}, [op](ggml_context* ctx, const Sources& s) {
    return ggml_group_norm(ctx, s[0], op->groups(), op->eps());
  });
}

}  // namespace etggml::graph
