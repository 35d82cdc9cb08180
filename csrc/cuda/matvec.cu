// From a call to the parameters of the matrix-vector kernels.
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

}  // namespace

bool supports_matvec(int device, const MatVecCall& c) {
  const ggml_type type = c.segment[0].weight->type;
  const MatVecType* kernels = type_of(type);
  if (kernels == nullptr || c.columns < 1 || c.columns > kMaxColumns) return false;
  const int64_t k = c.segment[0].weight->ne[0];
  if (k % 32 != 0 || k > kPiece * (kBatch / 2) || alignment(c) < kernels->alignment || c.x_offset % 4 != 0)
    return false;
  return kernels->shared(static_cast<int>(k), padded_columns(c.columns)) <= shared_memory_limit(device);
}

bool launch_matvec(int device, cudaStream_t stream, const MatVecCall& c) {
  MatVecParams p = {};
  const ggml_tensor* w = c.segment[0].weight;
  auto data = [](const ggml_tensor* t) { return t == nullptr ? nullptr : static_cast<float*>(t->data); };
  p.row_bytes = static_cast<int64_t>(w->nb[1]);
  for (int i = 0; i < c.segments; ++i) {
    const MatVecCall::Segment& s = c.segment[i];
    p.segment[i] = {static_cast<const uint8_t*>(s.weight->data), data(s.bias), data(s.residual), data(s.out),
                    static_cast<int>(s.rows)};
    p.rows += static_cast<int>(s.rows);
  }
  if (c.glu != MatVecCall::None) {
    p.segment[1].weight += c.second_row * p.row_bytes;
  }
  p.overlaps_next = c.overlaps_next;
  p.glu = c.glu;
  p.columns = {data(c.x) + c.x_offset, data(c.gain), static_cast<int>(w->ne[0]), c.columns, c.norm, c.eps};
  return type_of(w->type)->launch(device, stream, p, alignment(c));
}

}  // namespace etggml::cuda
