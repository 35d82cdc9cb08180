#include "kernels/linear.h"

#include <algorithm>

#include "kernels/custom_op.h"
#include "kernels/float_rows.h"
#include "kernels/host_matrix.h"
#include "kernels/kernel_guard.h"

namespace etggml::kernels {
namespace {

// Panels at a time: they stay in second-level cache while the weights pass.
constexpr int64_t kPanelBytes = 768 << 10;
// Panels per chunk. If K is too long, the chunk covers part of K (split-K) and accumulates into the result. Weights are
// the larger operand: with fewer panels in the cache they would be read more often.
constexpr int64_t kChunkPanels = 5;
// Pieces of work for each thread: enough to even out a thread that is held up.
constexpr int64_t kShares = 8;
// Every thread keeps memory for a block of widened rows; far beyond the matrices of any model.
constexpr int64_t kMaxColumns = 1 << 18;

struct WidenedRows;

int64_t round_up(int64_t n, int64_t to) { return (n + to - 1) / to * to; }

void pack(ggml_tensor* y, int thread, int threads, void* user) {
  const auto& f = *static_cast<const PanelFunctions*>(user);
  const ggml_tensor* x = y->src[0];
  const int64_t k = x->ne[0], rows = ggml_nrows(x), width = kPanelVectors * f.lanes;
  const int64_t packed = rows - tail_columns(rows, width, k);
  const int64_t steps = (k + f.lanes - 1) / f.lanes;
  const int64_t from = steps * thread / threads * f.lanes, to = std::min(k, steps * (thread + 1) / threads * f.lanes);
  const auto* in = static_cast<const float*>(x->data);
  auto* out = static_cast<float*>(y->data);
  for (int64_t r = 0; r < packed; r += width) {
    if (stopped(y, thread)) return;
    f.pack_rows(in + r * k, k, static_cast<int>(std::min(width, packed - r)), from, to, out + r * k);
  }
  for (int64_t r = packed; r < rows; ++r) std::copy(in + r * k + from, in + r * k + to, out + r * k + from);
}

/// Elements [from, from + p.k) of p.rows rows of the weight as floats: where they are, or widened into this thread's
/// memory.
void set_weights(const PanelFunctions& f, const ggml_tensor* w, int64_t row, int64_t from, PanelProduct& p) {
  const char* data = static_cast<const char*>(w->data) + static_cast<size_t>(row) * w->nb[1];
  if (w->type == GGML_TYPE_F32) {
    p.weights = reinterpret_cast<const float*>(data) + from;
    p.weight_stride = w->ne[0];
    return;
  }
  const auto widen = w->type == GGML_TYPE_F16 ? f.widen_f16 : f.widen_bf16;
  const size_t bytes = static_cast<size_t>(p.rows * p.k) * sizeof(float);
  auto* floats = reinterpret_cast<float*>(thread_memory<WidenedRows>(bytes));
  for (int i = 0; i < p.rows; ++i) {
    widen(reinterpret_cast<const uint16_t*>(data + static_cast<size_t>(i) * w->nb[1]) + from, p.k, floats + i * p.k);
  }
  p.weights = floats;
  p.weight_stride = p.k;
}

/// One product, and how it is cut: chunks of columns, parts of sums, blocks of rows.
struct Linear {
  const PanelFunctions& f;
  const ggml_tensor *w, *y;
  const float *panels, *bias;
  Epilogue epilogue;
  int64_t k, rows, columns, width, blocks;
  int tail;
  int64_t depth, chunk;

  Linear(const PanelFunctions& functions, const ggml_tensor* result)
      : f(functions), w(result->src[0]), y(result), epilogue(custom_op_params<Epilogue>(result)) {
    panels = static_cast<const float*>(y->src[1]->data);
    bias = y->src[2] ? static_cast<const float*>(y->src[2]->data) : nullptr;
    k = w->ne[0], rows = w->ne[1], width = kPanelVectors * f.lanes;
    blocks = (rows + f.rows - 1) / f.rows;
    tail = tail_columns(ggml_nrows(y), width, k);
    columns = ggml_nrows(y) - tail;
    const int64_t bytes = k * std::min(round_up(columns, f.lanes), kChunkPanels * width) * int64_t{sizeof(float)};
    const int64_t parts = (bytes + kPanelBytes - 1) / kPanelBytes;
    depth = round_up((k + parts - 1) / parts, f.lanes);
    chunk = std::max<int64_t>(1, kPanelBytes / (depth * width * int64_t{sizeof(float)})) * width;
  }

  /// Rows of one block times the chunk from column `start`, elements from `from` on of each sum.
  void compute(int64_t start, int64_t from, int64_t block) const {
    const int64_t row = block * f.rows;
    PanelProduct p;
    p.k = std::min(depth, k - from);
    p.rows = static_cast<int>(std::min<int64_t>(f.rows, rows - row));
    set_weights(f, w, row, from, p);
    p.bias = bias && from == 0 ? bias + row : nullptr;
    p.adds = from > 0;
    if (from + p.k == k) p.epilogue = epilogue;
    p.y_stride = rows;
    p.transposed = true;
    for (int64_t c = start; c < std::min(columns, start + chunk); c += width) {
      p.columns = static_cast<int>(std::min(width, columns - c));
      p.panel = panels + c * k + from * round_up(p.columns, f.lanes);
      if (c + width == columns) {
        p.tail_columns = tail;
        p.tail = panels + columns * k + from;
        p.tail_stride = k;
      }
      p.y = static_cast<float*>(y->data) + c * rows + row;
      f.multiply(p);
    }
  }
};

void compute(ggml_tensor* y, int thread, int threads, void* user) {
  const Linear linear(*static_cast<const PanelFunctions*>(user), y);
  if (linear.depth < linear.k) {  // who adds to a result must know that the earlier part is there: fixed shares
    const int64_t from = linear.blocks * thread / threads, to = linear.blocks * (thread + 1) / threads;
    for (int64_t start = 0; start < linear.columns; start += linear.chunk) {
      for (int64_t part = 0; part < linear.k; part += linear.depth) {
        for (int64_t block = from; block < to; ++block) {
          if (stopped(y, thread)) return;
          linear.compute(start, part, block);
        }
      }
    }
    return;
  }
  const int64_t step = std::max<int64_t>(1, linear.blocks / (threads * kShares));
  const int64_t steps = (linear.blocks + step - 1) / step, chunks = (linear.columns + linear.chunk - 1) / linear.chunk;
  Tickets<Epilogue> tickets(y, steps * chunks, thread, threads);
  for (int64_t i = tickets.take(); i < steps * chunks; i = tickets.take()) {
    const int64_t from = i % steps * step;
    for (int64_t block = from; block < std::min(linear.blocks, from + step); ++block) {
      if (stopped(y, thread)) return;
      linear.compute(i / steps * linear.chunk, 0, block);
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
    panels = ggml_custom_4d(ctx, GGML_TYPE_F32, round_up(ggml_nrows(x), f.lanes), x->ne[0], 1, 1, &x, 1,
                            guarded_kernel<pack>, GGML_N_TASKS_MAX, user);
    set_custom_op(panels, "PACK", int32_t{0});
  }
  ggml_tensor* args[3] = {w, panels, fused.bias};
  ggml_tensor* y = ggml_custom_4d(ctx, GGML_TYPE_F32, w->ne[1], x->ne[1], x->ne[2], x->ne[3], args, fused.bias ? 3 : 2,
                                  guarded_kernel<compute>, GGML_N_TASKS_MAX, user);
  set_custom_op(y, "LINEAR", fused.epilogue);
  return y;
}

}  // namespace etggml::kernels
