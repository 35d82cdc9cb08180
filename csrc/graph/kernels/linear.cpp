#include "graph/kernels/linear.h"

#include <algorithm>

#include "graph/kernels/custom_op.h"
#include "graph/kernels/float_rows.h"
#include "graph/kernels/host_matrix.h"

namespace etggml::graph {
namespace {

// Panels at a time: they stay in second-level cache while the weights pass.
constexpr int64_t kPanelBytes = 768 << 10;
// Every thread keeps memory for a block of widened rows; far beyond the matrices of any model.
constexpr int64_t kMaxColumns = 1 << 18;

struct WidenedRows;

int64_t round_up(int64_t n, int64_t to) { return (n + to - 1) / to * to; }

void pack(ggml_tensor* y, int thread, int threads, void* user) {
  const auto& f = *static_cast<const PanelFunctions*>(user);
  const ggml_tensor* x = y->src[0];
  const int64_t k = x->ne[0], rows = ggml_nrows(x), width = kPanelVectors * f.lanes;
  const int64_t steps = (k + f.lanes - 1) / f.lanes;
  const int64_t from = steps * thread / threads * f.lanes, to = std::min(k, steps * (thread + 1) / threads * f.lanes);
  for (int64_t r = 0; r < rows; r += width) {
    f.pack_rows(static_cast<const float*>(x->data) + r * k, k, static_cast<int>(std::min(width, rows - r)), from, to,
                static_cast<float*>(y->data) + r * k);
  }
}

void compute(ggml_tensor* y, int thread, int threads, void* user) {
  const auto& f = *static_cast<const PanelFunctions*>(user);
  const ggml_tensor* w = y->src[0];
  const auto* panels = static_cast<const float*>(y->src[1]->data);
  const auto* bias = y->src[2] ? static_cast<const float*>(y->src[2]->data) : nullptr;
  const int64_t k = w->ne[0], rows = w->ne[1], columns = ggml_nrows(y), width = kPanelVectors * f.lanes;
  const int64_t blocks = (rows + f.lanes - 1) / f.lanes;
  const int64_t chunk = std::max<int64_t>(1, kPanelBytes / (k * width * static_cast<int64_t>(sizeof(float)))) * width;
  PanelProduct p;
  p.weight_stride = k;
  p.k = k;
  p.epilogue = custom_op_params<Epilogue>(y);
  p.y_stride = rows;
  p.transposed = true;
  for (int64_t start = 0; start < columns; start += chunk) {
    const int64_t end = std::min(columns, start + chunk);
    for (int64_t block = blocks * thread / threads; block < blocks * (thread + 1) / threads; ++block) {
      const int64_t row = block * f.lanes;
      p.rows = static_cast<int>(std::min<int64_t>(f.lanes, rows - row));
      const char* data = static_cast<const char*>(w->data) + static_cast<size_t>(row) * w->nb[1];
      p.weights = float_rows<WidenedRows>(f, w->type, data, p.rows * k);
      p.bias = bias ? bias + row : nullptr;
      for (int64_t c = start; c < end; c += width) {
        p.panel = panels + c * k;
        p.columns = static_cast<int>(std::min(width, columns - c));
        p.y = static_cast<float*>(y->data) + c * rows + row;
        f.multiply(p);
      }
    }
  }
}

}  // namespace

ggml_tensor* linear(ggml_context* ctx, ggml_tensor* w, ggml_tensor* x, const Fused& fused, const LinearKernel& kernel,
                    PackedPanels& packed) {
  const PanelFunctions& f = kernel.functions;
  if (!f.multiply || x->type != GGML_TYPE_F32 || !ggml_is_contiguous(x) || ggml_nrows(x) < kernel.min_rows)
    return nullptr;
  if (!is_panel_weight(w->type) || !is_host_matrix(w) || w->ne[0] > kMaxColumns) return nullptr;
  void* user = const_cast<PanelFunctions*>(&f);
  ggml_tensor*& panels = packed[x];
  if (!panels) {
    panels = ggml_custom_4d(ctx, GGML_TYPE_F32, round_up(ggml_nrows(x), f.lanes), x->ne[0], 1, 1, &x, 1, pack,
                            GGML_N_TASKS_MAX, user);
    set_custom_op(panels, "PACK", int32_t{0});
  }
  ggml_tensor* args[3] = {w, panels, fused.bias};
  ggml_tensor* y = ggml_custom_4d(ctx, GGML_TYPE_F32, w->ne[1], x->ne[1], x->ne[2], x->ne[3], args, fused.bias ? 3 : 2,
                                  compute, GGML_N_TASKS_MAX, user);
  set_custom_op(y, "LINEAR", fused.epilogue);
  return y;
}

}  // namespace etggml::graph
