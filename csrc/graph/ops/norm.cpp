// Normalisations along ne[0] (GroupNorm: along ne[0], ne[1] and a group of channels ne[2]).
#include "graph/node_builder.h"

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
  return ggml_norm(b.ctx(), b.src(0), b.node().op_as_Norm()->eps());
}

Result<ggml_tensor*> build_rms_norm(NodeBuilder& b) {
  ETGGML_RETURN_IF_ERROR(row_norm(b));
  return ggml_rms_norm(b.ctx(), b.src(0), b.node().op_as_RmsNorm()->eps());
}

Result<ggml_tensor*> build_l2_norm(NodeBuilder& b) {
  ETGGML_RETURN_IF_ERROR(row_norm(b));
  return ggml_l2_norm(b.ctx(), b.src(0), b.node().op_as_L2Norm()->eps());
}

Result<ggml_tensor*> build_group_norm(NodeBuilder& b) {
  ETGGML_RETURN_IF_ERROR(row_norm(b));
  const auto* op = b.node().op_as_GroupNorm();
  const int64_t channels = b.src(0)->ne[2];
  if (op->groups() < 1 || channels % op->groups() != 0) {
    return b.fail("groups %d does not divide %lld channels", op->groups(), static_cast<long long>(channels));
  }
  return ggml_group_norm(b.ctx(), b.src(0), op->groups(), op->eps());
}

}  // namespace etggml::graph
