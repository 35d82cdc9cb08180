#include "kernels/gemm.h"

#include <algorithm>
#include <cstdint>

#include "kernels/custom_op.h"
#include "kernels/exact_rows.h"
#include "kernels/host_matrix.h"
#include "kernels/kernel_guard.h"
#include "kernels/thread_memory.h"

namespace etggml::kernels {
namespace {

// Columns at a time: their packed form stays in second-level cache while all panels pass.
constexpr size_t kColumnBytes = 1 << 20;
// Every thread keeps memory for a panel of 32 rows, 48 bytes a column; far beyond the matrices of any model.
constexpr int64_t kMaxColumns = 1 << 19;

/// Whether a packed row represents its numbers: not NaN, infinities, and numbers with an infinite inverse.
bool stands(const ActivationBlock* row, int64_t blocks) {
  bool good = true;
  for (int64_t i = 0; i < blocks; ++i) good &= row[i].scale == 0.0f || (row[i].scale > 1e-37f && row[i].scale < 1e37f);
  return good;
}

void pack(ggml_tensor* y, int thread, int threads, void* user) {
  const GemmFunctions& f = static_cast<const GemmKernel*>(user)->functions;
  const ggml_tensor* x = y->src[0];
  const int64_t rows = ggml_nrows(x), k = x->ne[0];
  for (int64_t r = rows * thread / threads; r < rows * (thread + 1) / threads; ++r) {
    if (stopped(y, thread)) return;
    auto* row = static_cast<ActivationBlock*>(y->data) + r * (k / kGemmBlock);
    f.pack_activations(static_cast<const float*>(x->data) + r * k, k, row);
    row->odd = !stands(row, k / kGemmBlock);
  }
}

struct Params {
  FinishFunction finish;  // nullptr where nothing follows
  Epilogue epilogue;
};

Panel panel_memory(int64_t k) {
  const size_t quants = static_cast<size_t>(k) * kPanelRows, scales = quants / 16 * sizeof(float);
  Panel panel;
  panel.u = thread_memory<Panel>(quants + 2 * scales);
  panel.scale = reinterpret_cast<float*>(panel.u + quants);
  panel.min = reinterpret_cast<float*>(panel.u + quants + scales);
  return panel;
}

void compute(ggml_tensor* y, int thread, int threads, void* user) {
  const GemmFunctions& f = static_cast<const GemmKernel*>(user)->functions;
  const ggml_tensor* w = y->src[0];
  const auto* x = static_cast<const ActivationBlock*>(y->src[1]->data);
  const auto* numbers = static_cast<const float*>(y->src[2]->data);  // that x was made of
  const auto* bias = y->src[3] ? static_cast<const float*>(y->src[3]->data) : nullptr;
  const auto params = custom_op_params<Params>(y);
  const int64_t k = w->ne[0], rows = w->ne[1], columns = ggml_nrows(y), blocks = k / kGemmBlock;
  const int64_t panels = (rows + kPanelRows - 1) / kPanelRows;
  const Panel panel = panel_memory(k);
  const int64_t fit = static_cast<int64_t>(kColumnBytes / (static_cast<size_t>(blocks) * sizeof(ActivationBlock)));
  const int64_t passes = std::max<int64_t>(1, columns / std::max<int64_t>(fit, 96));
  for (int64_t pass = 0; pass < passes; ++pass) {
    const int64_t from = columns * pass / passes, to = columns * (pass + 1) / passes;
    for (int64_t p = panels * thread / threads; p < panels * (thread + 1) / threads; ++p) {
      if (stopped(y, thread)) return;
      const int64_t row = p * kPanelRows;
      const int count = static_cast<int>(std::min<int64_t>(kPanelRows, rows - row));
      f.pack_panel(w->type, static_cast<const char*>(w->data) + static_cast<size_t>(row) * w->nb[1], w->nb[1], count, k,
                   panel);
      float* out = static_cast<float*>(y->data) + from * rows + row;
      f.multiply(w->type, panel, count, k, x + from * blocks, to - from, out, rows);
      for (int64_t c = from; c < to; ++c) {
        if (!x[c * blocks].odd) continue;
        if (stopped(y, thread)) return;
        exact_rows(w->type, static_cast<const char*>(w->data), w->nb[1], numbers + c * k, k, row, row + count,
                   static_cast<float*>(y->data) + c * rows);
      }
      if (params.finish) params.finish(bias ? bias + row : nullptr, params.epilogue, count, to - from, out, rows);
    }
  }
}

}  // namespace

ggml_tensor* gemm(ggml_context* ctx, ggml_tensor* w, ggml_tensor* x, const Fused& fused, const GemmKernel& kernel,
                  PackedActivations& packed) {
  if (!kernel.functions.multiply || !kernel.functions.takes(w->type) || x->type != GGML_TYPE_F32) return nullptr;
  if (ggml_nrows(x) < kernel.min_rows || !ggml_is_contiguous(x) || x->ne[0] % kGemmBlock != 0) return nullptr;
  if (x->ne[0] > kMaxColumns || !is_host_matrix(w)) return nullptr;
  const bool finishes = fused.bias || !fused.epilogue.is_nothing();
  if (finishes && !kernel.finish) return nullptr;
  void* user = const_cast<GemmKernel*>(&kernel);
  ggml_tensor*& activations = packed[x];
  if (!activations) {
    const int64_t bytes = x->ne[0] / kGemmBlock * static_cast<int64_t>(sizeof(ActivationBlock));
    activations = ggml_custom_4d(ctx, GGML_TYPE_I8, bytes, ggml_nrows(x), 1, 1, &x, 1, guarded_kernel<pack>,
                                 GGML_N_TASKS_MAX, user);
    set_custom_op(activations, "PACK", int32_t{0});
  }
  ggml_tensor* args[4] = {w, activations, x, fused.bias};
  ggml_tensor* y = ggml_custom_4d(ctx, GGML_TYPE_F32, w->ne[1], x->ne[1], x->ne[2], x->ne[3], args, fused.bias ? 4 : 3,
                                  guarded_kernel<compute>, GGML_N_TASKS_MAX, user);
  set_custom_op(y, "MUL_MAT_PANEL", Params{finishes ? kernel.finish : nullptr, fused.epilogue});
  return y;
}

}  // namespace etggml::kernels
