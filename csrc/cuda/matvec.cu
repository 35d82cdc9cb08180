// From a call to the parameters of the matrix-vector kernels.
#include <algorithm>

#include "kernels.cuh"
#include "matvec.cuh"

namespace etggml::cuda {
namespace {

const MatVecType* type_of(ggml_type type) {
  switch (type) {
    case GGML_TYPE_Q8_0:
      return &kMatVecQ8_0;
    case GGML_TYPE_Q4_0:
      return &kMatVecQ4_0;
    case GGML_TYPE_Q4_K:
      return &kMatVecQ4_K;
    case GGML_TYPE_Q5_K:
      return &kMatVecQ5_K;
    case GGML_TYPE_Q6_K:
      return &kMatVecQ6_K;
    case GGML_TYPE_F16:
      return &kMatVecF16;
    case GGML_TYPE_BF16:
      return &kMatVecBF16;
    case GGML_TYPE_F32:
      return &kMatVecF32;
    default:
      return nullptr;
  }
}

/// The largest power of two up to 16 that divides every address a row or a piece of one can begin at. Weights lie at
/// multiples of 128 bytes or more: what ggml-cuda's buffers give.
int alignment(const MatVecCall& c) {
  const size_t row = c.segment[0].weight->nb[1];
  const size_t second = c.segment[0].weight == c.segment[1].weight ? row * static_cast<size_t>(c.second_row) : 0;
  const size_t all = row | second | 16;
  return static_cast<int>(all & (~all + 1));
}

/// One a multiprocessor: where one has none, two of the next kernel's would begin there and be late.
int blocks(int device, const MatVecParams& p) { return std::min(multiprocessors(device), p.glu ? p.rows / 2 : p.rows); }

/// The call's parameters, planned; the block's shared memory, 0 when it does not fit.
size_t plan(int device, const MatVecCall& c, const MatVecType& type, MatVecParams& p) {
  const ggml_tensor* w = c.segment[0].weight;
  p.row_bytes = static_cast<int64_t>(w->nb[1]);
  for (int i = 0; i < c.segments; ++i) p.rows += static_cast<int>(c.segment[i].rows);
  p.glu = c.glu;
  p.columns.k = static_cast<int>(w->ne[0]);
  p.columns.count = c.columns;
  p.columns.norm = c.norm;
  p.columns.eps = c.eps;
  const int unit = p.glu ? 2 : 1, grid = blocks(device, p);
  p.per_block = (p.rows / unit + grid - 1) / grid * unit;
  return type.plan(p, padded_columns(c.columns), shared_memory_limit(device));
}

}  // namespace

bool supports_matvec(int device, const MatVecCall& c) {
  const MatVecType* type = type_of(c.segment[0].weight->type);
  if (type == nullptr || c.columns < 1 || c.columns > kMaxColumns) return false;
  const int64_t k = c.segment[0].weight->ne[0];
  if (k % 32 != 0 || k % type->unit != 0 || k > kMostElements || alignment(c) < type->alignment || c.x_offset % 4 != 0)
    return false;
  MatVecParams p = {};
  return plan(device, c, *type, p) != 0;
}

bool launch_matvec(int device, cudaStream_t stream, const MatVecCall& c) {
  const MatVecType& type = *type_of(c.segment[0].weight->type);
  MatVecParams p = {};
  const size_t shared = plan(device, c, type, p);
  auto data = [](const ggml_tensor* t) { return t == nullptr ? nullptr : static_cast<float*>(t->data); };
  for (int i = 0; i < c.segments; ++i) {
    const MatVecCall::Segment& s = c.segment[i];
    p.segment[i] = {static_cast<const uint8_t*>(s.weight->data), data(s.bias), data(s.residual), data(s.out),
                    static_cast<int>(s.rows)};
  }
  if (p.glu) p.segment[1].weight += c.second_row * p.row_bytes;
  p.overlaps_next = c.overlaps_next;
  p.columns.x = data(c.x) + c.x_offset;
  p.columns.gain = data(c.gain);
  return launch(device, stream, dim3(static_cast<unsigned>(blocks(device, p))), dim3(kThreads), shared,
                type.kernel(p, padded_columns(c.columns)), p);
}

}  // namespace etggml::cuda
