#include "kernels/softmax.h"

#include <algorithm>
#include <cmath>

#include "kernels/custom_op.h"
#include "kernels/kernel_guard.h"
#include "kernels/thread_memory.h"
#include "util/cpu.h"

namespace etggml::graph {
namespace {

// Elements that are worth a ticket.
constexpr int64_t kPiece = 4096;

struct Params {
  SoftMaxRow row;
  float scale;
  bool bounds;
};

void plain_row(const float* x, const float* mask, bool bounds, float scale, int64_t n, float* y) {
  float top = -INFINITY;
  for (int64_t i = 0; i < n; ++i) {
    y[i] = bounds && mask[i] == -INFINITY ? -INFINITY : x[i] * scale + (mask ? mask[i] : 0.0f);
    top = std::max(top, y[i]);
  }
  if (top == -INFINITY) top = 0.0f;  // exp(-inf) is 0, and NaN stays NaN
  double sum = 0.0;
  for (int64_t i = 0; i < n; ++i) sum += y[i] = std::exp(y[i] - top);
  if (sum == 0.0) return;
  const auto part = static_cast<float>(1.0 / sum);
  for (int64_t i = 0; i < n; ++i) y[i] *= part;
}

/// Row `row` of a tensor, that of a smaller one repeated.
const char* row_of(const ggml_tensor* t, const ggml_tensor* like, int64_t row) {
  const int64_t i1 = row % like->ne[1], i2 = row / like->ne[1] % like->ne[2], i3 = row / like->ne[1] / like->ne[2];
  return static_cast<const char*>(t->data) + i1 * static_cast<int64_t>(t->nb[1]) +
         i2 % t->ne[2] * static_cast<int64_t>(t->nb[2]) + i3 % t->ne[3] * static_cast<int64_t>(t->nb[3]);
}

void compute(ggml_tensor* y, int thread, int threads, void*) {
  const ggml_tensor *x = y->src[0], *mask = y->src[1];
  const auto params = custom_op_params<Params>(y);
  const int64_t n = x->ne[0], rows = ggml_nrows(x), step = std::max<int64_t>(1, kPiece / n);
  const int64_t steps = (rows + step - 1) / step;
  struct Numbers {};
  const bool halves = mask && mask->type == GGML_TYPE_F16;
  auto* numbers = halves ? reinterpret_cast<float*>(thread_memory<Numbers>(static_cast<size_t>(n) * 4)) : nullptr;
  Tickets<Params> tickets(y, steps, thread, threads);
  for (int64_t ticket = tickets.take(); ticket < steps; ticket = tickets.take()) {
    for (int64_t i = ticket * step; i < std::min(rows, (ticket + 1) * step); ++i) {
      const char* bias = mask ? row_of(mask, x, i) : nullptr;
      if (halves) ggml_fp16_to_fp32_row(reinterpret_cast<const ggml_fp16_t*>(bias), numbers, n);
      params.row(static_cast<const float*>(x->data) + i * n, halves ? numbers : reinterpret_cast<const float*>(bias),
                 params.bounds, params.scale, n, static_cast<float*>(y->data) + i * n);
    }
  }
}

}  // namespace

SoftMaxRow soft_max_row() {
  if (cpu_has_avx512()) {
    if (const SoftMaxRow row = soft_max_row_avx512()) return row;
  }
  if (cpu_has_avx2()) {
    if (const SoftMaxRow row = soft_max_row_avx2()) return row;
  }
  return plain_row;
}

ggml_tensor* soft_max(ggml_context* ctx, const SoftMaxArgs& args, SoftMaxRow row) {
  ggml_tensor* x = args.x;
  if (x->type != GGML_TYPE_F32 || !ggml_is_contiguous(x)) return nullptr;
  ggml_tensor* operands[2] = {x, args.mask};
  ggml_tensor* y = ggml_custom_4d(ctx, GGML_TYPE_F32, x->ne[0], x->ne[1], x->ne[2], x->ne[3], operands,
                                  args.mask ? 2 : 1, guarded_kernel<compute>, GGML_N_TASKS_MAX, nullptr);
  set_custom_op(y, "SOFT_MAX", Params{row, args.scale, args.bounds && args.mask});
  return y;
}

}  // namespace etggml::graph
