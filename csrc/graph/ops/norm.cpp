// Normalisations along ne[0] (GroupNorm: along ne[0], ne[1] and a group of channels ne[2]).
#include "graph/adapt.h"
#include "graph/op_row.h"

namespace etggml::graph {
namespace {

Status row_norm(const NodeBuilder& b) {
  ETGGML_RETURN_IF_ERROR(b.type_in(0, {GGML_TYPE_F32}));
  ETGGML_RETURN_IF_ERROR(b.dense_rows(0));
  return b.result_shape(shape_of(b.src(0)));
}

Status eps_ok(const ir::NodeCheck& c, float eps) {
  return ir::finite({eps}) && eps >= 0 ? ok_status() : c.fail("eps %g is negative or not finite", eps);
}

Status check_norm(const ir::NodeCheck& c) { return eps_ok(c, c.node().op_as_Norm()->eps()); }

Result<ggml_tensor*> build_norm(NodeBuilder& b) {
  ETGGML_RETURN_IF_ERROR(row_norm(b));
  const float eps = b.node().op_as_Norm()->eps();
  return adapt(b, {b.src(0)}, [=](ggml_context* ctx, const Sources& s) { return ggml_norm(ctx, s[0], eps); });
}

Status check_rms_norm(const ir::NodeCheck& c) { return eps_ok(c, c.node().op_as_RmsNorm()->eps()); }

Result<ggml_tensor*> build_rms_norm(NodeBuilder& b) {
  ETGGML_RETURN_IF_ERROR(row_norm(b));
  const float eps = b.node().op_as_RmsNorm()->eps();
  return adapt(b, {b.src(0)}, [=](ggml_context* ctx, const Sources& s) { return ggml_rms_norm(ctx, s[0], eps); });
}

Status check_l2_norm(const ir::NodeCheck& c) { return eps_ok(c, c.node().op_as_L2Norm()->eps()); }

Result<ggml_tensor*> build_l2_norm(NodeBuilder& b) {
  ETGGML_RETURN_IF_ERROR(row_norm(b));
  const float eps = b.node().op_as_L2Norm()->eps();
  return adapt(b, {b.src(0)}, [=](ggml_context* ctx, const Sources& s) { return ggml_l2_norm(ctx, s[0], eps); });
}

Status check_group_norm(const ir::NodeCheck& c) { return eps_ok(c, c.node().op_as_GroupNorm()->eps()); }

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

}  // namespace

const OpRow kNormRow = row<fb::Op_Norm, build_norm, check_norm>();
const OpRow kRmsNormRow = row<fb::Op_RmsNorm, build_rms_norm, check_rms_norm>();
const OpRow kL2NormRow = row<fb::Op_L2Norm, build_l2_norm, check_l2_norm>();
const OpRow kGroupNormRow = row<fb::Op_GroupNorm, build_group_norm, check_group_norm>();

}  // namespace etggml::graph
