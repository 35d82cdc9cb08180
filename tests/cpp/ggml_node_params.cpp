// Parameters of ggml's nodes, held against the functions of ggml that write them. A new version of ggml that moves one
// fails here. So does one that adds a parameter to an operator: a fusion that does not know it would drop it.
#include <algorithm>
#include <iterator>
#include <vector>

#include "check.h"
#include "device_rules/node_params.h"

using namespace etggml::device_rules;

namespace {

ggml_context* ctx;

ggml_tensor* matrix(int64_t rows = 8, int64_t columns = 8, ggml_type type = GGML_TYPE_F32) {
  return ggml_new_tensor_2d(ctx, type, columns, rows);
}

/// Whether nothing is set behind the first `known` parameters but those of `more`.
bool no_other(const ggml_tensor* t, int known, std::vector<int> more = {}) {
  for (int i = known; i < static_cast<int>(std::size(t->op_params)); ++i) {
    if (t->op_params[i] != 0 && std::find(more.begin(), more.end(), i) == more.end()) return false;
  }
  return true;
}

void rope() {
  ggml_tensor* positions = ggml_new_tensor_1d(ctx, GGML_TYPE_I32, 3);
  ggml_tensor* heads = ggml_new_tensor_3d(ctx, GGML_TYPE_F32, 16, 2, 3);
  ggml_tensor* t =
      ggml_rope_ext(ctx, heads, positions, nullptr, 12, GGML_ROPE_TYPE_NEOX, 99, 1e6f, 0.5f, 0.25f, 1.5f, 32.0f, 2.0f);
  RopeParams p = rope_params(t);
  CHECK(p.n_dims == 12 && p.mode == GGML_ROPE_TYPE_NEOX && p.offset == 0);
  CHECK(p.base == 1e6f && p.scale == 0.5f && p.blend == 0.25f && p.attn == 1.5f);
  CHECK(t->op_params[4] == 99);  // read by the blend alone, as the two behind attn are
  CHECK(float_param(t, 9) == 32.0f && float_param(t, 10) == 2.0f);
  CHECK(no_other(t, 11));
  CHECK(t->op_params[0] == 0 && t->op_params[3] == 0);
  CHECK(rope_params(ggml_rope_set_offset(t, 4)).offset == 4);
}

void attention() {
  ggml_tensor* q = ggml_new_tensor_3d(ctx, GGML_TYPE_F32, 16, 3, 2);
  ggml_tensor* k = ggml_new_tensor_3d(ctx, GGML_TYPE_F16, 16, 5, 2);
  ggml_tensor* mask = matrix(3, 5, GGML_TYPE_F16);
  ggml_tensor* t = ggml_flash_attn_ext(ctx, q, k, k, mask, 0.5f, 8.0f, 30.0f);
  CHECK(attention_params(t).scale == 0.5f && attention_params(t).max_bias == 8.0f);
  CHECK(attention_params(t).softcap == 30.0f);
  CHECK(no_other(t, 3));
  CHECK(ggml_prec_set_acc(t, GGML_PREC_F32) && no_other(t, 3, {3}) && t->op_params[3] == GGML_PREC_F32);
}

void rows() {
  ggml_tensor* x = matrix();
  ggml_tensor* soft = ggml_soft_max_ext(ctx, x, matrix(8, 8, GGML_TYPE_F16), 0.5f, 8.0f);
  CHECK(softmax_params(soft).scale == 0.5f && softmax_params(soft).max_bias == 8.0f && no_other(soft, 2));
  for (ggml_tensor* t : {ggml_norm(ctx, x, 0.125f), ggml_rms_norm(ctx, x, 0.125f), ggml_l2_norm(ctx, x, 0.125f)}) {
    CHECK(norm_epsilon(t) == 0.125f && no_other(t, 1));
  }
  for (ggml_sort_order order : {GGML_SORT_ORDER_ASC, GGML_SORT_ORDER_DESC}) {
    ggml_tensor* t = ggml_argsort(ctx, x, order);
    CHECK(sort_order(t) == order && no_other(t, 1));
  }
}

void elements() {
  ggml_tensor* x = matrix();
  ggml_tensor* t = ggml_clamp(ctx, x, -2.0f, 3.0f);
  CHECK(clamp_params(t).min == -2.0f && clamp_params(t).max == 3.0f && no_other(t, 2));
  CHECK(t->view_src == nullptr);  // it was in place once: graph/ and the fusions count on a new tensor
  t = ggml_scale_bias(ctx, x, 2.0f, -3.0f);
  CHECK(scale_params(t).factor == 2.0f && scale_params(t).bias == -3.0f && no_other(t, 2));
  CHECK(t->view_src == nullptr);
  for (bool swapped : {false, true}) {
    t = ggml_glu(ctx, x, GGML_GLU_OP_SWIGLU, swapped);
    CHECK(glu_swapped(t) == swapped && ggml_get_glu_op(t) == GGML_GLU_OP_SWIGLU && no_other(t, 2));
  }
  t = ggml_swiglu_split(ctx, x, matrix());
  CHECK(!glu_swapped(t) && no_other(t, 2));
}

void products() {
  ggml_tensor* t = ggml_mul_mat(ctx, matrix(), matrix());
  CHECK(no_other(t, 0));
  CHECK(ggml_prec_set_acc(t, GGML_PREC_F32) && source_precision(t) != GGML_PREC_F32);
  CHECK(ggml_prec_set_src(t, GGML_PREC_F32, 1) && source_precision(t) == GGML_PREC_F32);
  CHECK(no_other(t, 1, {3}));
  ggml_tensor* experts = ggml_new_tensor_3d(ctx, GGML_TYPE_F32, 8, 4, 2);
  ggml_tensor* x = ggml_new_tensor_3d(ctx, GGML_TYPE_F32, 8, 1, 3);
  t = ggml_mul_mat_id(ctx, experts, x, matrix(3, 1, GGML_TYPE_I32));
  CHECK(no_other(t, 0));
  CHECK(ggml_prec_set_src(t, GGML_PREC_F32, 1) && source_precision(t) == GGML_PREC_F32);
}

}  // namespace

int main() {
  ctx = ggml_init({1 << 20, nullptr, /*no_alloc=*/true});
  if (ctx == nullptr) return 1;
  rope();
  attention();
  rows();
  elements();
  products();
  ggml_free(ctx);
  return failures() == 0 ? 0 : 1;
}
