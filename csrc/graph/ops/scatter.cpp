// Values put in rows by number, into memory of the result's own.
//
// ggml has rows written in place (SetRows), by threads that race where two values go to one row, and nothing that adds
// to a row. So this is a kernel of ours: a column is one thread's, which takes its values in order.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "graph/adapt.h"
#include "graph/op_row.h"
#include "kernels/custom_op.h"
#include "kernels/kernel_guard.h"

namespace etggml::graph {
namespace {

// Rows of values between two looks at whether the call is to end.
constexpr int64_t kValuesBetween = 64;

struct Params {
  int32_t kind;
};

float combined(fb::ScatterKind kind, float old, float value) {
  switch (kind) {
    case fb::ScatterKind_Add:
      return old + value;
    case fb::ScatterKind_Mul:
      return old * value;
    case fb::ScatterKind_Max:
      return std::isnan(value) || value > old ? value : old;
    case fb::ScatterKind_Min:
      return std::isnan(value) || value < old ? value : old;
    default:
      return value;
  }
}

void compute(ggml_tensor* y, int thread, int threads, void*) {
  const ggml_tensor *x = y->src[0], *values = y->src[1], *ids = y->src[2];
  const auto kind = static_cast<fb::ScatterKind>(kernels::custom_op_params<Params>(y).kind);
  const int64_t columns = y->ne[0], rows = y->ne[1], tables = y->ne[2], count = values->ne[1];
  const int64_t id_step = ids->ne[0] == 1 ? 0 : 1;
  // Columns of all tables, dealt out in runs.
  const int64_t all = columns * tables, each = (all + threads - 1) / threads;
  const int64_t end = std::min(all, (thread + 1) * each);
  for (int64_t at = thread * each; at < end;) {
    const int64_t table = at / columns, from = at % columns, to = std::min(columns, from + end - at);
    at += to - from;
    const auto bytes = static_cast<size_t>(to - from) * sizeof(float);
    float* result = static_cast<float*>(y->data) + table * rows * columns;
    const float* old = static_cast<const float*>(x->data) + table * rows * columns;
    for (int64_t row = 0; row < rows; ++row)
      std::memcpy(result + row * columns + from, old + row * columns + from, bytes);
    const float* value = static_cast<const float*>(values->data) + table * count * columns;
    const auto* id = static_cast<const int32_t*>(ids->data) + (ids->ne[2] == 1 ? 0 : table * count * ids->ne[0]);
    for (int64_t i = 0; i < count; ++i, value += columns, id += ids->ne[0]) {
      if (i % kValuesBetween == 0 && kernels::stopped(y, thread)) return;
      for (int64_t k = from; k < to; ++k) {
        const int32_t row = id[k * id_step];
        GGML_ASSERT(row >= 0 && row < rows);  // who fills numbers in has checked them
        float& cell = result[row * columns + k];
        cell = combined(kind, cell, value[k]);
      }
    }
  }
}

ggml_tensor* packed(ggml_context* ctx, ggml_tensor* t) { return ggml_is_contiguous(t) ? t : ggml_cont(ctx, t); }

Status check_scatter(const ir::NodeCheck& c) {
  return c.known("kind", c.node().op_as_Scatter()->kind(), fb::ScatterKind_MIN, fb::ScatterKind_MAX);
}

Result<ggml_tensor*> build_scatter(NodeBuilder& b) {
  ggml_tensor *x = b.src(0), *values = b.src(1), *ids = b.src(2);
  ETGGML_RETURN_IF_ERROR(b.type_in(0, {GGML_TYPE_F32}));
  ETGGML_RETURN_IF_ERROR(b.type_in(1, {GGML_TYPE_F32}));
  ETGGML_RETURN_IF_ERROR(b.type_in(2, {GGML_TYPE_I32}));
  ETGGML_RETURN_IF_ERROR(b.result_shape(shape_of(x)));
  const bool fits = values->ne[0] == x->ne[0] && values->ne[2] == x->ne[2] && x->ne[3] == 1 && values->ne[3] == 1 &&
                    (ids->ne[0] == 1 || ids->ne[0] == x->ne[0]) && ids->ne[1] == values->ne[1] &&
                    (ids->ne[2] == 1 || ids->ne[2] == x->ne[2]) && ids->ne[3] == 1;
  if (!fits) {
    return b.fail("values of shape %s at ids of shape %s do not fit a tensor of shape %s",
                  shape_text(shape_of(values)).c_str(), shape_text(shape_of(ids)).c_str(),
                  shape_text(shape_of(x)).c_str());
  }
  if (b.options().device) {
    return b.unsupported("values are put in rows by a kernel of the CPU, this device has none; run the program there");
  }
  ggml_tensor* args[3] = {packed(b.ctx(), x), packed(b.ctx(), values), packed(b.ctx(), ids)};
  ggml_tensor* y = ggml_custom_4d(b.ctx(), GGML_TYPE_F32, x->ne[0], x->ne[1], x->ne[2], 1, args, 3,
                                  kernels::guarded_kernel<compute>, GGML_N_TASKS_MAX, nullptr);
  kernels::set_custom_op(y, "SCATTER", Params{b.node().op_as_Scatter()->kind()});
  return y;
}

}  // namespace

const OpRow kScatterRow = row<fb::Op_Scatter, build_scatter, check_scatter>();

}  // namespace etggml::graph
