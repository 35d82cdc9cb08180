// The order of the elements of each row, and the first of it. NaN is larger than infinity, as in torch.
//
// torch also decides which of several equal values comes first. It sorts stably. For the largest alone it selects with
// the standard library (partial_sort, or nth_element and sort) on pairs of a value and its place. So the same calls are
// made here. Devices sort whole rows, with NaN as infinity; their kernel decides the order of equal values.
#include <algorithm>
#include <cmath>

#include "graph/adapt.h"
#include "graph/op_row.h"
#include "kernels/custom_op.h"
#include "kernels/kernel_guard.h"
#include "kernels/thread_memory.h"

namespace etggml::graph {
namespace {

struct Candidate {
  float value;
  int32_t place;
};

struct Candidates;

bool falls(const Candidate& x, const Candidate& y) {
  return (std::isnan(x.value) && !std::isnan(y.value)) || x.value > y.value;
}

bool rises(const Candidate& x, const Candidate& y) {
  return (!std::isnan(x.value) && std::isnan(y.value)) || x.value < y.value;
}

struct Params {
  int32_t falling, all;
};

void compute(ggml_tensor* y, int thread, int threads, void*) {
  const ggml_tensor* x = y->src[0];
  const auto params = kernels::custom_op_params<Params>(y);
  const auto before = params.falling ? falls : rises;
  const int64_t k = y->ne[0], n = x->ne[0], rows = ggml_nrows(x);
  auto* first =
      reinterpret_cast<Candidate*>(kernels::thread_memory<Candidates>(static_cast<size_t>(n) * sizeof(Candidate)));
  for (int64_t row = thread; row < rows; row += threads) {
    if (kernels::stopped(y, thread)) return;
    const auto* values = reinterpret_cast<const float*>(static_cast<const char*>(x->data) + row * x->nb[1]);
    for (int64_t i = 0; i < n; ++i) first[i] = {values[i], static_cast<int32_t>(i)};
    if (params.all) {
      std::stable_sort(first, first + n, before);
    } else if (k * 64 <= n) {
      std::partial_sort(first, first + k, first + n, before);
    } else {
      std::nth_element(first, first + k - 1, first + n, before);
      std::sort(first, first + k - 1, before);
    }
    auto* to = static_cast<int32_t*>(y->data) + row * k;
    for (int64_t i = 0; i < k; ++i) to[i] = first[i].place;
  }
}

ggml_tensor* on_cpu(NodeBuilder& b, int64_t k, const Params& params, const char* name) {
  ggml_tensor* x = b.src(0);
  ggml_tensor* y = ggml_custom_4d(b.ctx(), GGML_TYPE_I32, k, x->ne[1], x->ne[2], x->ne[3], &x, 1,
                                  kernels::guarded_kernel<compute>, GGML_N_TASKS_MAX, nullptr);
  kernels::set_custom_op(y, name, params);
  return y;
}

/// Keys for a device's sort, where `<` of a NaN is not defined. The patched clamp takes NaN to its upper limit.
ggml_tensor* keys(ggml_context* ctx, ggml_tensor* x) { return ggml_clamp(ctx, ggml_cont(ctx, x), -INFINITY, INFINITY); }

Result<ggml_tensor*> build_argsort(NodeBuilder& b) {
  ETGGML_RETURN_IF_ERROR(b.type_in(0, {GGML_TYPE_F32}));
  ETGGML_RETURN_IF_ERROR(b.dense_rows(0));
  ETGGML_RETURN_IF_ERROR(b.contiguous_1(0));
  ETGGML_RETURN_IF_ERROR(b.result_shape(shape_of(b.src(0))));
  const bool descending = b.node().op_as_Argsort()->descending();
  if (!b.options().device) return on_cpu(b, b.src(0)->ne[0], {descending, 1}, "ARGSORT");
  const auto order = descending ? GGML_SORT_ORDER_DESC : GGML_SORT_ORDER_ASC;
  return adapt(b, {b.src(0)},
               [=](ggml_context* ctx, const Sources& s) { return ggml_argsort(ctx, keys(ctx, s[0]), order); });
}

Status check_top_k(const ir::NodeCheck& c) {
  const int k = c.node().op_as_TopK()->k();
  return k >= 1 ? ok_status() : c.fail("k %d is below 1", k);
}

// Not ggml_top_k: its order is unspecified (the kernel even swaps the first two on purpose).
Result<ggml_tensor*> build_top_k(NodeBuilder& b) {
  ETGGML_RETURN_IF_ERROR(b.type_in(0, {GGML_TYPE_F32}));
  ETGGML_RETURN_IF_ERROR(b.contiguous_1(0));
  ggml_tensor* x = b.src(0);
  const int k = b.node().op_as_TopK()->k();
  if (k > x->ne[0]) return b.fail("k %d of rows of %lld elements", k, static_cast<long long>(x->ne[0]));
  ETGGML_RETURN_IF_ERROR(b.result_shape({k, x->ne[1], x->ne[2], x->ne[3]}));
  const bool smallest = b.node().op_as_TopK()->smallest();
  if (!b.options().device) return on_cpu(b, k, {!smallest, 0}, "TOP_K");
  return adapt(b, {b.src(0)}, [=](ggml_context* ctx, const Sources& s) {
    ggml_tensor* x = keys(ctx, s[0]);
    ggml_tensor* y = ggml_argsort_top_k(ctx, smallest ? ggml_neg(ctx, x) : x, k);
    return ggml_is_contiguous(y) ? y : ggml_cont(ctx, y);
  });
}

}  // namespace

const OpRow kArgsortRow = row<fb::Op_Argsort, build_argsort, any_fields>();
const OpRow kTopKRow = row<fb::Op_TopK, build_top_k, check_top_k>();

}  // namespace etggml::graph
