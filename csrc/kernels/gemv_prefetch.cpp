#include "kernels/gemv_prefetch.h"

#include <algorithm>
#include <cstdint>

#include "kernels/custom_op.h"
#include "kernels/exact_rows.h"
#include "kernels/host_matrix.h"
#include "kernels/kernel_guard.h"
#include "kernels/thread_memory.h"

namespace etggml::kernels {
namespace {

constexpr size_t kCacheLine = 64;
// Rows between two looks at whether the call is to end.
constexpr int64_t kRowsBetween = 64;

inline void prefetch(const char* row, size_t bytes) {
  for (size_t at = 0; at < bytes; at += kCacheLine) __builtin_prefetch(row + at, /*rw=*/0, /*locality=*/3);
}

/// x in the type that rows of the weight are multiplied with. Each thread converts all of it: that costs less than a
/// barrier.
const void* converted(const GemvPrefetch& gemv, ggml_type type, const float* x, int64_t n) {
  if (type == GGML_TYPE_F32) return x;
  struct Converted {};
  void* row = thread_memory<Converted>(ggml_row_size(type, n));
  gemv.traits(type)->from_float(x, row, n);
  return row;
}

/// x times a number.
const float* scaled(const float* x, int64_t n, double scale) {
  struct Scaled {};
  auto* row = reinterpret_cast<float*>(thread_memory<Scaled>(static_cast<size_t>(n) * sizeof(float)));
  for (int64_t i = 0; i < n; ++i) row[i] = static_cast<float>(x[i] * scale);
  return row;
}

void compute(ggml_tensor* y, int thread, int threads, void* user) {
  const auto& gemv = *static_cast<const GemvPrefetch*>(user);
  const ggml_tensor* w = y->src[0];
  const ggml_tensor* x = y->src[1];
  const ggml_type_traits_cpu* traits = gemv.traits(w->type);
  const int64_t rows = w->ne[1], from = rows * thread / threads, to = rows * (thread + 1) / threads;
  const auto* numbers = static_cast<const float*>(x->data);
  const RowKind kind = row_kind(numbers, x->ne[0], traits->vec_dot_type);
  if (kind == RowKind::kExact) {
    for (int64_t r = from; r < to && !stopped(y, thread); r += kRowsBetween) {
      exact_rows(w->type, static_cast<const char*>(w->data), w->nb[1], numbers, x->ne[0], r,
                 std::min(to, r + kRowsBetween), static_cast<float*>(y->data));
    }
    return;
  }
  const double scale = kind == RowKind::kScaled ? row_scale(numbers, x->ne[0]) : 1.0;
  if (kind == RowKind::kScaled) numbers = scaled(numbers, x->ne[0], scale);
  const void* row = converted(gemv, traits->vec_dot_type, numbers, x->ne[0]);
  const int columns = static_cast<int>(w->ne[0]);
  const size_t stride = w->nb[1];
  const char* weights = static_cast<const char*>(w->data);
  auto* out = static_cast<float*>(y->data);
  const int64_t ahead = std::max<int64_t>(1, gemv.bytes_ahead / static_cast<int64_t>(stride));
  for (int64_t r = from; r < to; ++r) {
    if (r % kRowsBetween == 0 && stopped(y, thread)) return;
    // Only rows of this thread: the next ones are another core's.
    if (r + ahead < to) prefetch(weights + static_cast<size_t>(r + ahead) * stride, stride);
    traits->vec_dot(columns, out + r, 0, weights + static_cast<size_t>(r) * stride, 0, row, 0, 1);
  }
  if (kind == RowKind::kScaled) {
    for (int64_t r = from; r < to; ++r) out[r] = static_cast<float>(out[r] / scale);
  }
}

}  // namespace

ggml_tensor* gemv_prefetch(ggml_context* ctx, ggml_tensor* w, ggml_tensor* x, const GemvPrefetch& gemv) {
  if (!gemv.traits) return nullptr;
  if (x->type != GGML_TYPE_F32 || ggml_nelements(x) != x->ne[0] || !ggml_is_contiguous(x)) return nullptr;
  if (!is_host_matrix(w) || static_cast<int64_t>(ggml_nbytes(w)) < gemv.min_bytes) return nullptr;
  const ggml_type_traits_cpu* traits = gemv.traits(w->type);
  if (!traits || !traits->vec_dot) return nullptr;
  if (traits->vec_dot_type != GGML_TYPE_F32) {
    const ggml_type_traits_cpu* input = gemv.traits(traits->vec_dot_type);
    if (!input || !input->from_float || x->ne[0] % ggml_blck_size(traits->vec_dot_type) != 0) return nullptr;
  }
  ggml_tensor* args[2] = {w, x};
  ggml_tensor* y = ggml_custom_4d(ctx, GGML_TYPE_F32, w->ne[1], 1, 1, 1, args, 2, guarded_kernel<compute>,
                                  GGML_N_TASKS_MAX, const_cast<GemvPrefetch*>(&gemv));
  set_custom_op(y, "MUL_MAT_VEC", int32_t{0});
  return y;
}

}  // namespace etggml::kernels
