#include "kernels/softmax.h"

#include <math.h>

#include <algorithm>
#include <cmath>

#include "kernels/custom_op.h"
#include "kernels/kernel_guard.h"
#include "kernels/thread_memory.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/softmax.cpp"
#include "hwy/foreach_target.h"  // reads this file for every target
// after it
#include "kernels/simd_math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace etggml::kernels::HWY_NAMESPACE {
namespace {

#if ETGGML_SIMD

inline Reg masked(Reg score, Reg mask, bool bounds) {
  const Reg sum = hn::Add(score, mask), none = set(-INFINITY);
  return bounds ? where_ge(none, mask, none, sum) : sum;
}

void softmax_row(const float* x, const float* mask, bool bounds, float scale, int64_t n, float* y) {
  const Reg factor = set(scale), none = set(-INFINITY);  // for lanes beyond the row
  Reg top = none;
  int64_t i = 0;
  for (; i + kW <= n; i += kW) {
    Reg s = hn::Mul(load(x + i), factor);
    if (mask) s = masked(s, load(mask + i), bounds);
    store(y + i, s);
    top = maximum(top, s);
  }
  const Mask rest = first_lanes(static_cast<int>(n - i));
  if (i < n) {
    Reg s = hn::Mul(load(x + i, rest), factor);
    if (mask) s = masked(s, load(mask + i, rest), bounds);
    store(y + i, s, rest);
    top = maximum(top, load(y + i, rest, none));
  }
  const float largest = hn::ReduceMax(kFloats, top);
  // Where nothing is seen: exp(-inf - 0) is 0, and NaN stays NaN.
  const Reg base = set(largest == -INFINITY ? 0.0f : largest);
  double sum = 0.0;
  constexpr int64_t kRun = 64 * kW;  // numbers that are summed in F32
  for (i = 0; i < n;) {
    const int64_t end = i + kRun < n ? i + kRun : n;
    Reg total = zero();
    for (; i + kW <= end; i += kW) {
      const Reg e = exp_negative(hn::Sub(load(y + i), base));
      store(y + i, e);
      total = hn::Add(total, e);
    }
    if (i < end) {
      const Reg e = exp_negative(hn::Sub(load(y + i, rest, none), base));
      store(y + i, e, rest);
      total = hn::Add(total, e);
      i = end;
    }
    sum += static_cast<double>(hn::ReduceSum(kFloats, total));
  }
  if (sum == 0.0) return;
  const Reg part = set(static_cast<float>(1.0 / sum));
  for (i = 0; i + kW <= n; i += kW) store(y + i, hn::Mul(load(y + i), part));
  if (i < n) store(y + i, hn::Mul(load(y + i, rest), part), rest);
}

SoftMaxRow of_target() { return softmax_row; }

#else

void softmax_row(const float* x, const float* mask, bool bounds, float scale, int64_t n, float* y) {
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

SoftMaxRow of_target() { return softmax_row; }

#endif

}  // namespace
}  // namespace etggml::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace etggml::kernels {
namespace {

// Elements that are worth a ticket.
constexpr int64_t kPiece = 4096;

struct Params {
  SoftMaxRow row;
  float scale;
  bool bounds;
};

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

HWY_EXPORT(of_target);

SoftMaxRow soft_max_row() { return HWY_DYNAMIC_DISPATCH(of_target)(); }

ggml_tensor* soft_max(ggml_context* ctx, const SoftMaxArgs& args, SoftMaxRow row) {
  ggml_tensor* x = args.x;
  if (x->type != GGML_TYPE_F32 || !ggml_is_contiguous(x)) return nullptr;
  ggml_tensor* operands[2] = {x, args.mask};
  ggml_tensor* y = ggml_custom_4d(ctx, GGML_TYPE_F32, x->ne[0], x->ne[1], x->ne[2], x->ne[3], operands,
                                  args.mask ? 2 : 1, guarded_kernel<compute>, GGML_N_TASKS_MAX, nullptr);
  set_custom_op(y, "SOFT_MAX", Params{row, args.scale, args.bounds && args.mask});
  return y;
}

}  // namespace etggml::kernels
#endif  // HWY_ONCE
