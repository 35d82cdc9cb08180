// Matrix products. Every mul_mat of a graph is made by build_mul_mat, so BuildOptions::kernels can put ours in
// its place.
#include "graph/follow.h"
#include "graph/op_row.h"
#include "graph/product.h"

namespace etggml::graph {
namespace {

using ll = long long;

/// Both products want a weight with a dot product for its type, whole rows, not transposed. Its blocks must match those
/// that the activations are converted to.
Status weight_ok(const NodeBuilder& b) {
  const ggml_tensor* w = b.src(0);
  if (!devices::cpu_can_multiply(w->type)) return b.type_problem(0, "there is no matrix product for this type");
  ETGGML_RETURN_IF_ERROR(b.dense_rows(0));
  if (w->nb[1] < w->nb[0]) return b.fail("src[0] is transposed");
  const int64_t block = ggml_blck_size(devices::cpu_vec_dot_type(w->type));
  if (w->ne[0] % block != 0) {
    return b.type_problem(0, format("rows of %lld elements are not whole blocks of %lld", static_cast<ll>(w->ne[0]),
                                    static_cast<ll>(block))
                                 .c_str());
  }
  return ok_status();
}

Status check_mul_mat(const ir::NodeCheck& c) { return c.epilogue(c.node().op_as_MulMat()->then()); }

Result<ggml_tensor*> build_mul_mat(NodeBuilder& b) {
  ggml_tensor* w = b.src(0);
  ggml_tensor* x = b.src(1);
  ETGGML_RETURN_IF_ERROR(weight_ok(b));
  ETGGML_RETURN_IF_ERROR(b.dense_rows(1));
  if (w->type == GGML_TYPE_F32) {
    ETGGML_RETURN_IF_ERROR(b.type_in(1, {GGML_TYPE_F32, GGML_TYPE_F16, GGML_TYPE_BF16}));
  } else if (devices::is_float(w->type)) {
    ETGGML_RETURN_IF_ERROR(b.type_in(1, {GGML_TYPE_F32, w->type}));
  } else {
    ETGGML_RETURN_IF_ERROR(b.type_in(1, {GGML_TYPE_F32}));
  }
  if (w->ne[0] != x->ne[0] || x->ne[2] % w->ne[2] != 0 || x->ne[3] % w->ne[3] != 0) {
    return b.fail("src[0] of shape %s cannot multiply src[1] of shape %s", shape_text(shape_of(w)).c_str(),
                  shape_text(shape_of(x)).c_str());
  }
  ETGGML_RETURN_IF_ERROR(b.result_shape({w->ne[1], x->ne[1], x->ne[2], x->ne[3]}));
  ETGGML_ASSIGN_OR_RETURN(const Fused fused, fused_of(b, b.node().op_as_MulMat()->then(), w->ne[1]));
  Kernels* kernels = b.options().kernels;
  const bool follows = fused.bias || !fused.epilogue.is_nothing();
  if (kernels && follows) {
    if (ggml_tensor* ours = kernels->linear(b.ctx(), w, x, fused)) return ours;
  }
  if (x->type != GGML_TYPE_F32 && x->type != w->type) x = as_f32(b.ctx(), x);  // ggml-cpu of this version widens none
  ggml_tensor* y = kernels ? kernels->mul_mat(b.ctx(), w, x) : nullptr;
  if (!y) {
    y = product(b, w, x);
    if (kernels) y = kernels->mended(b.ctx(), y, w, x, nullptr);
  }
  return follows ? follow(b, y, fused.bias, fused.epilogue) : y;
}

Result<ggml_tensor*> build_mul_mat_id(NodeBuilder& b) {
  ggml_tensor* experts = b.src(0);
  ggml_tensor* x = b.src(1);
  ggml_tensor* ids = b.src(2);
  ETGGML_RETURN_IF_ERROR(weight_ok(b));
  ETGGML_RETURN_IF_ERROR(b.type_in(1, {GGML_TYPE_F32}));
  ETGGML_RETURN_IF_ERROR(b.dense_rows(1));
  ETGGML_RETURN_IF_ERROR(b.type_in(2, {GGML_TYPE_I32}));
  if (experts->ne[3] != 1 || x->ne[3] != 1 || ids->ne[2] != 1 || ids->ne[3] != 1 || experts->ne[0] != x->ne[0] ||
      ids->ne[1] != x->ne[2] || ids->ne[0] % x->ne[1] != 0) {
    return b.fail("experts %s, x %s and ids %s do not fit: [K, N, E], [K, 1 | n, T], [n, T]",
                  shape_text(shape_of(experts)).c_str(), shape_text(shape_of(x)).c_str(),
                  shape_text(shape_of(ids)).c_str());
  }
  ETGGML_RETURN_IF_ERROR(b.result_shape({experts->ne[1], ids->ne[0], x->ne[2], 1}));
  // Its scratch memory is experts x ids entries; ggml does not check that product.
  if (ids->ne[0] * ids->ne[1] > INT32_MAX / 8 / experts->ne[2])
    return b.fail("too many ids for %lld experts", static_cast<ll>(experts->ne[2]));
  ggml_tensor* y = expert_product(b, experts, x, ids);
  return b.options().kernels ? b.options().kernels->mended(b.ctx(), y, experts, x, ids) : y;
}

Result<ggml_tensor*> build_solve_tri(NodeBuilder& b) {
  for (uint32_t i = 0; i < 2; ++i) {
    ETGGML_RETURN_IF_ERROR(b.type_in(i, {GGML_TYPE_F32}));
    ETGGML_RETURN_IF_ERROR(b.contiguous(i));
    ETGGML_RETURN_IF_ERROR(b.dense_rows(i));
  }
  const ggml_tensor *a = b.src(0), *y = b.src(1);
  if (a->ne[0] != a->ne[1] || a->ne[1] != y->ne[1] || a->ne[2] != y->ne[2] || a->ne[3] != y->ne[3]) {
    return b.fail("a of shape %s and b of shape %s do not fit: [N, N, ...], [K, N, ...]",
                  shape_text(shape_of(a)).c_str(), shape_text(shape_of(y)).c_str());
  }
  ETGGML_RETURN_IF_ERROR(b.result_shape(shape_of(y)));
  // GPU kernels count the elements of a matrix in int.
  if (a->ne[0] * a->ne[1] > INT32_MAX || y->ne[0] * y->ne[1] > INT32_MAX) return b.fail("the matrices are too large");
  return adapt(b, {b.src(0), b.src(1)}, [](ggml_context* ctx, const Sources& s) {
    return ggml_solve_tri(ctx, s[0], s[1], /*left=*/true, /*lower=*/true, /*uni=*/false);
  });
}

}  // namespace

const OpRow kMulMatRow = row<fb::Op_MulMat, build_mul_mat, check_mul_mat>();
const OpRow kMulMatIdRow = row<fb::Op_MulMatId, build_mul_mat_id>();
const OpRow kSolveTriRow = row<fb::Op_SolveTri, build_solve_tri>();

}  // namespace etggml::graph
