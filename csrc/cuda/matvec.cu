// From a descriptor to the parameters of the matrix-vector kernels.
#include <algorithm>

#include "kernels.cuh"
#include "matvec_plan.cuh"

namespace etggml::cuda {
namespace {

const MatVecType* type_of(ggml_type type) {
  switch (type) {
    case GGML_TYPE_Q8_0:
      return &kMatVecQ8_0;
    case GGML_TYPE_Q4_0:
      return &kMatVecQ4_0;
    case GGML_TYPE_Q5_0:
      return &kMatVecQ5_0;
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

/// The largest power of two up to 16 that divides every address a row or a piece of one can begin at. Weights are
/// aligned to 128 bytes or more by ggml-cuda's buffers.
int alignment(const MatVecDesc& c) {
  const size_t row = c.segment[0].weight->nb[1];
  size_t all = row | 16;
  for (int i = 0; i < c.segments; ++i) all |= row * static_cast<size_t>(c.segment[i].first_row);
  return static_cast<int>(all & (~all + 1));
}

Extra extra_of(const MatVecDesc& c) {
  return c.ids != nullptr ? Extra::Experts : c.post_norm ? Extra::PostNorm : Extra::None;
}

/// One a multiprocessor: where one has none, two of the next kernel's would begin there and be late.
int blocks(int device, const MatVecExtraParams& p) { return std::min(multiprocessors(device), p.rows); }

/// The descriptor's parameters but for its pointers.
MatVecPlan plan(int device, const MatVecDesc& c, const MatVecType& type, MatVecExtraParams& p) {
  const ggml_tensor* w = c.segment[0].weight;
  p.row_bytes = static_cast<int64_t>(w->nb[1]);
  for (int i = 0; i < c.segments && (c.glu == 0 || i == 0); ++i) {
    if (i > 0) p.first[i - 1] = p.rows;
    p.rows += static_cast<int>(c.segment[i].rows);
  }
  for (int i = std::max(c.glu != 0 ? 0 : c.segments - 1, 0); i < MatVecDesc::kMaxSegments - 1; ++i) p.first[i] = p.rows;
  p.aligned = alignment(c) == 16;
  p.glu = c.glu;
  p.used = c.ids == nullptr ? 0 : c.used;
  p.expert_bytes = static_cast<int64_t>(w->nb[2]);
  p.expert_rows = static_cast<int>(w->ne[1]);
  // Without a gate the columns of all experts are one.
  p.columns.k = static_cast<int>(w->ne[0]) * (p.used > 0 && c.glu == 0 ? p.used : 1);
  p.extras.expert_k = static_cast<int>(w->ne[0]);
  p.columns.count = c.columns;
  p.columns.norm = c.norm;
  p.columns.eps = c.eps;
  p.extras.post_eps = c.post_eps;
  const int grid = blocks(device, p);
  return type.plan(p, padded_columns(c.columns), (p.rows + grid - 1) / grid, shared_memory_limit(device), extra_of(c));
}

}  // namespace

bool supports_matvec(int device, const MatVecDesc& c) {
  const MatVecType* type = type_of(c.segment[0].weight->type);
  if (type == nullptr || c.columns < 1 || c.columns > kMaxColumns) return false;
  const int64_t k = c.segment[0].weight->ne[0];
  if (k % 32 != 0 || k % type->unit != 0 || k > kMostElements || alignment(c) < type->alignment || c.x_offset % 4 != 0)
    return false;
  if (c.post_norm && (c.columns != 1 || c.ids != nullptr || c.addend_offset % 4 != 0)) return false;
  if (c.ids != nullptr) {
    const int64_t columns = c.glu == 0 ? k * c.used : k;
    if (c.columns != 1 || c.segments != (c.glu == 0 ? 1 : 2) || c.used < 1 || c.used > kMaxUsedExperts ||
        columns > kMostElements || c.segment[0].weight->nb[2] % static_cast<size_t>(alignment(c)) != 0)
      return false;
    for (int i = 0; i < c.segments; ++i)
      if (c.segment[i].bias != nullptr || c.segment[i].first_row != 0) return false;
    // A warp has the slice of one expert.
    if (c.glu == 0 && (c.used > warps_for(1) || c.norm)) return false;
  }
  if (c.glu != 0 && (c.segment[0].residual != nullptr || c.segment[1].residual != nullptr)) return false;
  MatVecExtraParams p = {};
  return plan(device, c, *type, p).shared != 0;
}

bool launch_matvec(int device, cudaStream_t stream, const MatVecDesc& c) {
  const MatVecType& type = *type_of(c.segment[0].weight->type);
  MatVecExtraParams p = {};
  const MatVecPlan planned = plan(device, c, type, p);
  auto data = [](const ggml_tensor* t) { return t == nullptr ? nullptr : static_cast<float*>(t->data); };
  for (int i = 0; i < c.segments; ++i) {
    const MatVecDesc::Segment& s = c.segment[i];
    const int64_t first = i == 0 || c.glu != 0 ? 0 : p.first[i - 1];
    auto from_row_0 = [&](const ggml_tensor* t) { return t == nullptr ? nullptr : data(t) - first; };
    p.segment[i] = {static_cast<const uint8_t*>(s.weight->data) + (s.first_row - first) * p.row_bytes,
                    from_row_0(s.bias), from_row_0(s.residual), from_row_0(s.out), static_cast<int>(s.rows)};
    p.biases = p.biases || s.bias != nullptr;
    p.residuals = p.residuals || s.residual != nullptr;
  }
  p.overlaps_next = c.overlaps_next;
  p.columns.x = data(c.x) + c.x_offset;
  p.columns.gain = data(c.gain);
  if (c.ids != nullptr) {
    p.ids = static_cast<const int32_t*>(c.ids->data);
    p.extras.expert_scales = data(c.expert_scales);
  }
  if (c.post_norm) {
    p.extras.addend = data(c.addend) + c.addend_offset;
    p.extras.post_gain = data(c.post_gain);
    p.extras.sum = data(c.sum);
  }
  const size_t shared = c.spreads ? std::max(planned.shared, shared_memory_limit(device) / 2) : planned.shared;
  void* parameters[] = {&p};  // its first part, of a kernel without extras
  return launch_at(device, stream, dim3(static_cast<unsigned>(blocks(device, p))),
                   dim3(static_cast<unsigned>(warps_for(padded_columns(c.columns)) * kWarp)), shared, 1, planned.kernel,
                   parameters);
}

}  // namespace etggml::cuda
