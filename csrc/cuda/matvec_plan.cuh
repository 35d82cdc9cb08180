// How the rows of a descriptor are distributed to the lanes of a block, and the kernel that multiplies them.
#pragma once

#include <algorithm>

#include "dot_float.cuh"
#include "dot_int8.cuh"
#include "matvec.cuh"

namespace etggml::cuda {

/// Shared-memory budget of a block. On sm_90 it is less than half of a multiprocessor's, if two stages fit, so that the
/// next kernel's block can be co-resident.
constexpr size_t kSharedBudget = 110 * 1024;
constexpr size_t kStaticShared = 2 * 1024;  // the kernel's variables in shared memory, at most

// A copy of fewer bytes takes as long as one of so many: about 50 ns, and a multiprocessor makes one after the other.
constexpr int kLeastCopy = 2048;

/// Lanes of a group, and warps that share a row (split-K).
struct WorkSplit {
  int lanes, split, slice_units;
};

/// For experts with a sum of their results: a warp multiplies one expert's slice of a row.
template <class W>
WorkSplit split_experts(const MatVecExtraParams& p) {
  const int each = p.columns.k / p.used / W::kUnit;
  const bool few = (each + kWarp / 2 - 1) / (kWarp / 2) <= (each + kWarp - 1) / kWarp;
  return {few ? kWarp / 2 : kWarp, p.used, each};
}

/// The one with which the busiest warp of a block of `rows` rows has the least to do.
template <class W>
WorkSplit split_work(const MatVecParams& p, int columns, int rows) {
  // Many columns: as few lanes as the sums allow, since their groups read the activations together.
  const int lanes_least = columns <= 2 ? 16 : 8, lanes_most = columns == 1 ? kWarp : lanes_least;
  const int units = p.columns.k / W::kUnit, warps = warps_for(columns);
  WorkSplit best{};
  double least = 1e30;
  for (int lanes = lanes_most; lanes >= lanes_least; lanes /= 2) {
    for (int split = 1; split <= warps; split *= 2) {
      const int each = ((units + split - 1) / split + W::kSliceUnits - 1) / W::kSliceUnits * W::kSliceUnits;
      if (each * (split - 1) >= units) break;
      const int groups = kWarp / lanes, tiles = (rows + groups - 1) / groups,
                steps = (tiles + warps / split - 1) / (warps / split),
                trips = (each + lanes * W::kUnroll - 1) / (lanes * W::kUnroll);
      if (split > 1 && tiles > kMaxSplitRows) break;
      // A step has its pieces, sums across lanes, and those across warps.
      const double time = steps * (trips + 0.5 + (split > 1 ? 0.5 : 0.0));
      if (time >= least) continue;
      least = time;
      best = {lanes, split, each};
    }
  }
  return best;
}

template <class W>
size_t pipeline_bytes(int lanes, int warps, int piece, bool aligned) {
  const int units = lanes * piece;
  const int stage = lanes == 32   ? WeightPipeline<W, 32>::stage_bytes(units, aligned)
                    : lanes == 16 ? WeightPipeline<W, 16>::stage_bytes(units, aligned)
                                  : WeightPipeline<W, 8>::stage_bytes(units, aligned);
  return static_cast<size_t>(stage) * static_cast<size_t>(warps) * static_cast<size_t>(kWarp / lanes);
}

struct MatVecPlan {
  size_t shared = 0;             // bytes of a block; 0: it does not fit
  const void* kernel = nullptr;  // its parameter: MatVecParams or MatVecExtraParams
};

template <class Params>
const void* address(void (*kernel)(Params)) {
  return reinterpret_cast<const void*>(kernel);
}

template <class W, int N, Extra What = Extra::None>
const void* matvec_kernel_for(bool glu, int lanes) {
  if constexpr (N == 1) {
    if (lanes == kWarp)
      return glu ? address(matvec_kernel<W, N, 2, kWarp, What>) : address(matvec_kernel<W, N, 1, kWarp, What>);
  }
  constexpr int kFew = N <= 2 ? 16 : 8;
  return glu ? address(matvec_kernel<W, N, 2, kFew, What>) : address(matvec_kernel<W, N, 1, kFew, What>);
}

template <class W>
const void* matvec_kernel_of(int columns, bool glu, int lanes, Extra what) {
  switch (columns) {
    case 1:
      return what == Extra::PostNorm  ? matvec_kernel_for<W, 1, Extra::PostNorm>(glu, lanes)
             : what == Extra::Experts ? matvec_kernel_for<W, 1, Extra::Experts>(glu, lanes)
                                      : matvec_kernel_for<W, 1>(glu, lanes);
    case 2:
      return matvec_kernel_for<W, 2>(glu, lanes);
    case 4:
      return matvec_kernel_for<W, 4>(glu, lanes);
    case 5:
      return matvec_kernel_for<W, 5>(glu, lanes);
    default:
      return matvec_kernel_for<W, 8>(glu, lanes);
  }
}

/// Sets its parameters for the kernel. `columns`: padded; `rows`: of a block; `limit`: of its shared memory, the
/// kernel's variables included.
template <class W>
MatVecPlan plan_matvec(MatVecExtraParams& p, int columns, int rows, size_t limit, Extra what) {
  const bool added_up = what == Extra::Experts && p.glu == 0;
  const WorkSplit work = added_up ? split_experts<W>(p) : split_work<W>(p, columns, rows);
  if (added_up && (work.slice_units % W::kSliceUnits != 0 || work.slice_units * W::kUnit * p.used != p.columns.k))
    return {};
  limit -= kStaticShared;
  p.aligned = p.aligned && W::bytes(W::kSliceUnits) % 16 == 0;
  const size_t groups = static_cast<size_t>(kWarp / work.lanes);
  const int sums = padded_to_power(columns), sets = p.glu ? 2 : 1;
  if ((rows + static_cast<int>(groups) - 1) / static_cast<int>(groups) > kMaxSplitRows && work.split > 1) return {};
  const size_t split_sums = work.split == 1
                                ? 0
                                : SplitKSums::bytes((rows + static_cast<int>(groups) - 1) / static_cast<int>(groups),
                                                    work.split, static_cast<int>(groups) * sets * sums);
  const size_t rest = W::Stored::bytes(p.columns.k, columns) + split_sums;
  auto pipeline_of = [&](int piece) { return pipeline_bytes<W>(work.lanes, warps_for(columns), piece, p.aligned); };
  p.piece = W::kUnroll;
  while (W::kLongPieces && W::bytes(work.lanes * p.piece) < kLeastCopy && work.lanes * p.piece < work.slice_units &&
         rest + 2 * pipeline_of(2 * p.piece) <= std::min(kSharedBudget, limit))
    p.piece *= 2;
  const size_t pipeline = pipeline_of(p.piece),
               budget = rest + 2 * pipeline <= kSharedBudget ? std::min(kSharedBudget, limit) : limit;
  if (rest + 2 * pipeline > budget) return {};
  const size_t stages = std::min((budget - rest) / pipeline, static_cast<size_t>(kMaxStages));
  p.split = work.split;
  p.slice_units = work.slice_units;
  p.workers = warps_for(columns) / work.split * work.split;
  p.stages = static_cast<int>(stages);
  p.k_inverse = 1.0f / static_cast<float>(p.columns.k);
  return {stages * pipeline + rest, matvec_kernel_of<W>(columns, p.glu != 0, work.lanes, what)};
}

/// The interface of a type's file.
struct MatVecType {
  MatVecPlan (*plan)(MatVecExtraParams& p, int columns, int rows, size_t limit, Extra what);
  int alignment;  // the least that rows have: the largest power of two that divides row bytes and addresses, up to 16
  int unit;       // row elements are a multiple of it
};

template <class W>
constexpr MatVecType matvec_type() {
  return {plan_matvec<W>, W::kAlignment, W::kUnit};
}

extern const MatVecType kMatVecQ8_0, kMatVecQ4_0, kMatVecQ5_0, kMatVecQ4_K, kMatVecQ5_K, kMatVecQ6_K, kMatVecF16,
    kMatVecBF16, kMatVecF32;

}  // namespace etggml::cuda
