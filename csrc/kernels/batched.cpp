#include "kernels/batched.h"

#include <algorithm>

#include "kernels/custom_op.h"
#include "kernels/host_matrix.h"
#include "kernels/kernel_guard.h"
#include "kernels/thread_memory.h"

namespace etggml::kernels {
namespace {

// Of x: with fewer, packing costs more than it gains.
constexpr int64_t kMinRows = 4;
// Every thread keeps memory for a panel; far beyond the matrices of any model.
constexpr int64_t kMaxTerms = 1 << 18;
// Pieces of work for each thread: enough to even out a thread that is held up.
constexpr int64_t kShares = 8;
// Blocks of rows between two looks at whether the call is to end.
constexpr int64_t kBlocksBetween = 8;

struct Panels;

const float* matrix(const ggml_tensor* t, int64_t i2, int64_t i3) {
  return reinterpret_cast<const float*>(static_cast<const char*>(t->data) + i2 * static_cast<int64_t>(t->nb[2]) +
                                        i3 * static_cast<int64_t>(t->nb[3]));
}

int64_t row_stride(const ggml_tensor* t) { return static_cast<int64_t>(t->nb[1] / sizeof(float)); }

void compute(ggml_tensor* y, int thread, int threads, void* user) {
  const auto& f = *static_cast<const PanelFunctions*>(user);
  const ggml_tensor *w = y->src[0], *x = y->src[1];
  const int64_t k = w->ne[0], rows = w->ne[1], columns = x->ne[1], width = kPanelVectors * f.lanes;
  const int64_t blocks = (rows + f.rows - 1) / f.rows, panels = (columns + width - 1) / width;
  const int64_t packs = panels * x->ne[2] * x->ne[3];
  // Few large matrices are cut by rows, too; each thread then packs the panels that it meets.
  const int64_t pieces = packs >= threads * kShares ? 1 : std::min(blocks, threads * kShares);
  auto* packed = reinterpret_cast<float*>(thread_memory<Panels>(static_cast<size_t>(k * width) * sizeof(float)));
  Tickets<int32_t> tickets(y, packs * pieces, thread, threads);
  int64_t last = -1;
  for (int64_t ticket = tickets.take(); ticket < packs * pieces; ticket = tickets.take()) {
    const int64_t pack = ticket / pieces, piece = ticket % pieces, at = pack % panels * width;
    const int64_t i2 = pack / panels % x->ne[2], i3 = pack / panels / x->ne[2];
    PanelProduct p;
    p.columns = static_cast<int>(std::min(width, columns - at));
    if (pack != last) f.pack_rows(matrix(x, i2, i3) + at * row_stride(x), row_stride(x), p.columns, 0, k, packed);
    last = pack;
    p.panel = packed;
    p.k = k;
    p.weight_stride = row_stride(w);
    p.y_stride = rows;
    p.transposed = true;
    const float* weights = matrix(w, i2 / (x->ne[2] / w->ne[2]), i3 / (x->ne[3] / w->ne[3]));
    float* result = static_cast<float*>(y->data) + ((i3 * x->ne[2] + i2) * columns + at) * rows;
    for (int64_t block = blocks * piece / pieces; block < blocks * (piece + 1) / pieces; ++block) {
      if (block % kBlocksBetween == 0 && stopped(y, thread)) return;
      const int64_t row = block * f.rows;
      p.rows = static_cast<int>(std::min<int64_t>(f.rows, rows - row));
      p.weights = weights + row * p.weight_stride;
      p.y = result + row;
      f.multiply(p);
    }
  }
}

bool has_rows(const ggml_tensor* t) {
  return t->type == GGML_TYPE_F32 && t->nb[0] == sizeof(float) && t->nb[1] % sizeof(float) == 0;
}

/// Where it has no memory yet the graph's allocator will give it some, which is the host's.
bool will_be_on_host(const ggml_tensor* t) {
  const ggml_tensor* root = t->view_src ? t->view_src : t;
  return !root->data || is_host_memory(t);
}

}  // namespace

ggml_tensor* batched(ggml_context* ctx, ggml_tensor* w, ggml_tensor* x, const LinearKernel& kernel) {
  const PanelFunctions& f = kernel.functions;
  if (!f.multiply || !has_rows(w) || !has_rows(x) || !will_be_on_host(w)) return nullptr;
  if (x->ne[1] < kMinRows || w->ne[1] < f.rows / 2 || w->ne[0] > kMaxTerms) return nullptr;
  ggml_tensor* args[2] = {w, x};
  ggml_tensor* y = ggml_custom_4d(ctx, GGML_TYPE_F32, w->ne[1], x->ne[1], x->ne[2], x->ne[3], args, 2,
                                  guarded_kernel<compute>, GGML_N_TASKS_MAX, const_cast<PanelFunctions*>(&f));
  set_custom_op(y, "MUL_MAT_BATCHED", int32_t{0});
  return y;
}

}  // namespace etggml::kernels
