#include "kernels/running_sum.h"

#include <algorithm>

#include "kernels/custom_op.h"

namespace etggml::kernels {
namespace {

// Elements between two looks at whether the call is to end.
constexpr int64_t kPiece = 1 << 16;

const char* row_of(const ggml_tensor* t, int64_t row) {
  const int64_t i1 = row % t->ne[1], i2 = row / t->ne[1] % t->ne[2], i3 = row / t->ne[1] / t->ne[2];
  return static_cast<const char*>(t->data) + i1 * static_cast<int64_t>(t->nb[1]) + i2 * static_cast<int64_t>(t->nb[2]) +
         i3 * static_cast<int64_t>(t->nb[3]);
}

void compute(ggml_tensor* y, int thread, int threads, void*) {
  const ggml_tensor* x = y->src[0];
  const int64_t n = x->ne[0], rows = ggml_nrows(x);
  for (int64_t row = thread; row < rows; row += threads) {
    const auto* from = reinterpret_cast<const float*>(row_of(x, row));
    auto* to = reinterpret_cast<float*>(const_cast<char*>(row_of(y, row)));
    double sum = 0.0;
    for (int64_t begin = 0; begin < n; begin += kPiece) {
      if (stopped(y, thread)) return;
      const int64_t end = std::min(n, begin + kPiece);
      for (int64_t i = begin; i < end; ++i) to[i] = static_cast<float>(sum += static_cast<double>(from[i]));
    }
  }
}

}  // namespace

ggml_tensor* running_sum(ggml_context* ctx, ggml_tensor* x) {
  if (x->type != GGML_TYPE_F32 || x->nb[0] != sizeof(float)) return nullptr;
  ggml_tensor* y = ggml_custom_4d(ctx, GGML_TYPE_F32, x->ne[0], x->ne[1], x->ne[2], x->ne[3], &x, 1, compute,
                                  GGML_N_TASKS_MAX, nullptr);
  set_custom_op(y, "RUNNING_SUM", int32_t{0});
  return y;
}

}  // namespace etggml::kernels
