#include "kernels/rows.h"

#include <algorithm>

#include "kernels/custom_op.h"

namespace etggml::kernels {
namespace {

// Shorter rows leave nothing to gain.
constexpr int64_t kMinRow = 8;
// Elements that are worth a ticket.
constexpr int64_t kPiece = 16384;

struct Params {
  RowOp op;
  int32_t dims;  // that a row has: of these y has no more than one element
};

void apply(RowOp op, const float* x, float y, int64_t n, float* out) {
  switch (op) {
    case RowOp::kAdd:
      for (int64_t i = 0; i < n; ++i) out[i] = x[i] + y;
      break;
    case RowOp::kSub:
      for (int64_t i = 0; i < n; ++i) out[i] = x[i] - y;
      break;
    case RowOp::kMul:
      for (int64_t i = 0; i < n; ++i) out[i] = x[i] * y;
      break;
    case RowOp::kDiv:
      for (int64_t i = 0; i < n; ++i) out[i] = x[i] / y;
      break;
  }
}

/// Calls visit(row) for the rows that this thread gets. T: the node's parameters.
template <class T, class Visit>
void share_rows(ggml_tensor* y, int64_t rows, int64_t row, int thread, int threads, Visit visit) {
  const int64_t step = std::max<int64_t>(1, kPiece / row), steps = (rows + step - 1) / step;
  Tickets<T> tickets(y, steps, thread, threads);
  for (int64_t ticket = tickets.take(); ticket < steps; ticket = tickets.take()) {
    for (int64_t i = ticket * step; i < std::min(rows, (ticket + 1) * step); ++i) visit(i);
  }
}

void compute_per_row(ggml_tensor* out, int thread, int threads, void*) {
  const ggml_tensor *x = out->src[0], *y = out->src[1];
  const auto params = custom_op_params<Params>(out);
  int64_t row = 1, counts[4] = {1, 1, 1, 1};
  for (int d = 0; d < 4; ++d) (d < params.dims ? row : counts[d]) *= x->ne[d];
  const auto* numbers = static_cast<const float*>(y->data);
  share_rows<Params>(out, ggml_nelements(x) / row, row, thread, threads, [&](int64_t i) {
    const int64_t i1 = i % counts[1], i2 = i / counts[1] % counts[2], i3 = i / counts[1] / counts[2];
    const int64_t at = (i3 % y->ne[3] * y->ne[2] + i2 % y->ne[2]) * y->ne[1] + i1 % y->ne[1];
    apply(params.op, static_cast<const float*>(x->data) + i * row, numbers[at], row,
          static_cast<float*>(out->data) + i * row);
  });
}

void compute_means(ggml_tensor* out, int thread, int threads, void*) {
  const ggml_tensor* x = out->src[0];
  const int64_t row = x->ne[0];
  share_rows<int32_t>(out, ggml_nrows(x), row, thread, threads, [&](int64_t i) {
    const float* in = static_cast<const float*>(x->data) + i * row;
    double sums[8] = {};
    int64_t k = 0;
    for (; k + 8 <= row; k += 8) {
      for (int j = 0; j < 8; ++j) sums[j] += in[k + j];
    }
    double sum = 0.0;
    for (; k < row; ++k) sum += in[k];
    for (const double s : sums) sum += s;
    static_cast<float*>(out->data)[i] = static_cast<float>(sum / static_cast<double>(row));
  });
}

const char* name(RowOp op) {
  constexpr const char* kNames[] = {"ADD_PER_ROW", "SUB_PER_ROW", "MUL_PER_ROW", "DIV_PER_ROW"};
  return kNames[static_cast<int>(op)];
}

bool is_dense(const ggml_tensor* x) { return x->type == GGML_TYPE_F32 && ggml_is_contiguous(x); }

}  // namespace

ggml_tensor* per_row(ggml_context* ctx, RowOp op, ggml_tensor* x, ggml_tensor* y) {
  if (!is_dense(x) || !is_dense(y)) return nullptr;
  Params params{op, 0};
  int64_t row = 1;
  // Not all that could be one row: there must be something to share out.
  while (params.dims < 4 && y->ne[params.dims] == 1 && (params.dims == 0 || row * x->ne[params.dims] <= kPiece)) {
    row *= x->ne[params.dims++];
  }
  if (params.dims == 0 || row < kMinRow) return nullptr;
  ggml_tensor* args[2] = {x, y};
  ggml_tensor* out = ggml_custom_4d(ctx, GGML_TYPE_F32, x->ne[0], x->ne[1], x->ne[2], x->ne[3], args, 2,
                                    compute_per_row, GGML_N_TASKS_MAX, nullptr);
  set_custom_op(out, name(op), params);
  return out;
}

ggml_tensor* row_means(ggml_context* ctx, ggml_tensor* x) {
  if (!is_dense(x) || x->ne[0] < kMinRow) return nullptr;
  ggml_tensor* out = ggml_custom_4d(ctx, GGML_TYPE_F32, 1, x->ne[1], x->ne[2], x->ne[3], &x, 1, compute_means,
                                    GGML_N_TASKS_MAX, nullptr);
  set_custom_op(out, "MEAN_OF_ROW", int32_t{0});
  return out;
}

}  // namespace etggml::kernels
