#include "kernels/exact_rows.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "devices/types.h"
#include "kernels/custom_op.h"
#include "kernels/kernel_guard.h"
#include "kernels/thread_memory.h"

namespace etggml::kernels {
namespace {

/// Magnitudes of the largest number of a row between which a type holds a row as well as it can.
struct Range {
  float low, high;
};

Range range_of(ggml_type type) {
  switch (type) {
    case GGML_TYPE_Q8_0:
      return {0x1p-7f, 0x1p22f};
    case GGML_TYPE_Q8_1:  // has the sum of a block in half precision, too
      return {0x1p-7f, 2047.0f};
    case GGML_TYPE_F16:
      return {0x1p-7f, 0x1p15f};
    case GGML_TYPE_Q8_K:  // its scale is F32
      return {0x1p-100f, 0x1p100f};
    default:
      return {0.0f, INFINITY};
  }
}

/// The largest magnitude; infinity or NaN where one is there.
float largest(const float* x, int64_t n) {
  // Bits of magnitudes are in the order of the magnitudes, those of NaN last.
  int32_t top = 0;
  for (int64_t i = 0; i < n; ++i) {
    int32_t bits;
    std::memcpy(&bits, x + i, sizeof(bits));
    bits &= 0x7fffffff;
    top = bits > top ? bits : top;
  }
  float number;
  std::memcpy(&number, &top, sizeof(number));
  return number;
}

// Rows of a matrix between two looks at whether the call is to end.
constexpr int64_t kRowsBetween = 64;

/// False when the call is to end.
bool mend_row(const ggml_tensor* node, int thread, const ggml_tensor* w, const char* matrix, ggml_type type,
              const float* x, float* y) {
  if (row_kind(x, w->ne[0], type) == RowKind::kPlain) return true;
  for (int64_t r = 0; r < w->ne[1]; r += kRowsBetween) {
    if (stopped(node, thread)) return false;
    exact_rows(w->type, matrix, w->nb[1], x, w->ne[0], r, std::min(w->ne[1], r + kRowsBetween), y);
  }
  return true;
}

const char* at(const ggml_tensor* t, int64_t i1, int64_t i2, int64_t i3) {
  return static_cast<const char*>(t->data) + i1 * static_cast<int64_t>(t->nb[1]) + i2 * static_cast<int64_t>(t->nb[2]) +
         i3 * static_cast<int64_t>(t->nb[3]);
}

/// src: the product, w, x, and the ids of experts if there are any.
void compute(ggml_tensor* y, int thread, int threads, void*) {
  const ggml_tensor *w = y->src[1], *x = y->src[2], *ids = y->src[3];
  const ggml_type type = devices::cpu_vec_dot_type(w->type);
  const int64_t rows = ggml_nrows(y);
  for (int64_t row = thread; row < rows; row += threads) {
    const int64_t i1 = row % y->ne[1], i2 = row / y->ne[1] % y->ne[2], i3 = row / y->ne[1] / y->ne[2];
    auto* out = reinterpret_cast<float*>(const_cast<char*>(at(y, i1, i2, i3)));
    if (ids) {
      int32_t expert;
      std::memcpy(&expert, at(ids, i2, 0, 0) + i1 * static_cast<int64_t>(ids->nb[0]), sizeof(expert));
      const auto* numbers = reinterpret_cast<const float*>(at(x, i1 % x->ne[1], i2, 0));
      if (!mend_row(y, thread, w, at(w, 0, expert, 0), type, numbers, out)) return;
    } else {
      const char* matrix = at(w, 0, i2 / (x->ne[2] / w->ne[2]), i3 / (x->ne[3] / w->ne[3]));
      if (!mend_row(y, thread, w, matrix, type, reinterpret_cast<const float*>(at(x, i1, i2, i3)), out)) return;
    }
  }
}

}  // namespace

bool can_be_odd(ggml_type type) { return range_of(type).high < INFINITY; }

RowKind row_kind(const float* x, int64_t n, ggml_type type) {
  const Range range = range_of(type);
  if (range.high == INFINITY) return RowKind::kPlain;
  const float top = largest(x, n);
  if ((top >= range.low && top <= range.high) || top == 0.0f) return RowKind::kPlain;
  return std::isfinite(top) ? RowKind::kScaled : RowKind::kExact;
}

double row_scale(const float* x, int64_t n) { return std::ldexp(1.0, 6 - std::ilogb(largest(x, n))); }

void exact_rows(ggml_type type, const char* matrix, size_t row_bytes, const float* x, int64_t n, int64_t from,
                int64_t to, float* out) {
  struct Numbers {};
  const ggml_to_float_t to_float = ggml_get_type_traits(type)->to_float;
  auto* numbers = reinterpret_cast<float*>(thread_memory<Numbers>(static_cast<size_t>(n) * sizeof(float)));
  for (int64_t r = from; r < to; ++r) {
    to_float(matrix + static_cast<size_t>(r) * row_bytes, numbers, n);
    double sum = 0.0;
    for (int64_t i = 0; i < n; ++i) sum += static_cast<double>(numbers[i]) * static_cast<double>(x[i]);
    out[r] = static_cast<float>(sum);
  }
}

ggml_tensor* mended(ggml_context* ctx, ggml_tensor* y, ggml_tensor* w, ggml_tensor* x, ggml_tensor* ids) {
  if (!can_be_odd(devices::cpu_vec_dot_type(w->type)) || x->type != GGML_TYPE_F32 || y->type != GGML_TYPE_F32) return y;
  ggml_tensor* args[3] = {w, x, ids};
  ggml_tensor* result =
      ggml_custom_inplace(ctx, y, args, ids ? 3 : 2, guarded_kernel<compute>, GGML_N_TASKS_MAX, nullptr);
  set_custom_op(result, "MEND_ROWS", int32_t{0});
  return result;
}

}  // namespace etggml::kernels
