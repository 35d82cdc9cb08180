// The largest of each row and where they are, equal ones in torch's order.
//
// torch selects with the standard library (partial_sort, or nth_element and sort) on pairs of a value and its place.
// Which of several equal values come out, and in which order, is what these algorithms do with that comparison, so the
// same calls are made here. Devices sort whole rows; there the order of equal values is their kernel's.
#include <algorithm>
#include <cmath>

#include "graph/adapt.h"
#include "graph/kernels/custom_op.h"
#include "graph/kernels/kernel_guard.h"
#include "graph/kernels/thread_memory.h"

namespace etggml::graph {
namespace {

struct Candidate {
  float value;
  int32_t place;
};

struct Candidates;

bool before(const Candidate& x, const Candidate& y) {
  return (std::isnan(x.value) && !std::isnan(y.value)) || x.value > y.value;
}

void compute(ggml_tensor* y, int thread, int threads, void*) {
  const ggml_tensor* x = y->src[0];
  const int64_t k = y->ne[0], n = x->ne[0], rows = ggml_nrows(x);
  auto* first = reinterpret_cast<Candidate*>(thread_memory<Candidates>(static_cast<size_t>(n) * sizeof(Candidate)));
  for (int64_t row = thread; row < rows; row += threads) {
    const auto* values = reinterpret_cast<const float*>(static_cast<const char*>(x->data) + row * x->nb[1]);
    for (int64_t i = 0; i < n; ++i) first[i] = {values[i], static_cast<int32_t>(i)};
    if (k * 64 <= n) {
      std::partial_sort(first, first + k, first + n, before);
    } else {
      std::nth_element(first, first + k - 1, first + n, before);
      std::sort(first, first + k - 1, before);
    }
    auto* to = static_cast<int32_t*>(y->data) + row * k;
    for (int64_t i = 0; i < k; ++i) to[i] = first[i].place;
  }
}

}  // namespace

// Not ggml_top_k: its order is unspecified (the kernel even swaps the first two on purpose).
Result<ggml_tensor*> build_top_k(NodeBuilder& b) {
  ETGGML_RETURN_IF_ERROR(b.type_in(0, {GGML_TYPE_F32}));
  ETGGML_RETURN_IF_ERROR(b.contiguous_1(0));
  ggml_tensor* x = b.src(0);
  const int k = b.node().op_as_TopK()->k();
  if (k > x->ne[0]) return b.fail("k %d of rows of %lld elements", k, static_cast<long long>(x->ne[0]));
  ETGGML_RETURN_IF_ERROR(b.result_shape({k, x->ne[1], x->ne[2], x->ne[3]}));
  if (!b.options().device) {
    ggml_tensor* y = ggml_custom_4d(b.ctx(), GGML_TYPE_I32, k, x->ne[1], x->ne[2], x->ne[3], &x, 1,
                                    guarded_kernel<compute>, GGML_N_TASKS_MAX, nullptr);
    set_custom_op(y, "TOP_K", int32_t{0});
    return y;
  }
  return adapt(b, {b.src(0)}, [=](ggml_context* ctx, const Sources& s) {
    ggml_tensor* y = ggml_argsort_top_k(ctx, s[0], k);
    return ggml_is_contiguous(y) ? y : ggml_cont(ctx, y);
  });
}

}  // namespace etggml::graph
