// Rows of matrices times one to eight columns: norm and quantisation before, bias, gate and residual behind, in one
// kernel. A block has neighbouring rows. As many as fit are requested before the kernel waits for the previous one, so
// the memory stays busy across kernels. For that, the next kernel's block must fit beside this one: a block takes less
// than half of a multiprocessor's registers and shared memory. Rows are distributed to groups of lanes. The groups of a
// warp have neighbouring rows and the same elements of them, so they read the same activations together.
#pragma once

#include "matvec_params.cuh"
#include "pipeline.cuh"
#include "split_k.cuh"
#include "sums.cuh"

namespace etggml::cuda {

/// Of a block. Many columns take registers, and spills are slow: all of L1 is shared memory.
__host__ __device__ constexpr int warps_for(int columns) { return columns <= 2 ? 16 : 8; }

__device__ __forceinline__ float gate_of(float v, int glu) {
  if (glu == MatVecDesc::Swiglu) return v / (1.0f + expf(-v));
  constexpr float kRoot = 0.79788456080286535588f, kCube = 0.044715f;  // GELU by tanh
  return 0.5f * v * (1.0f + tanhf(kRoot * v * (1.0f + kCube * v * v)));
}

/// The requests of a group of lanes, one after the other: pieces of its slice of each of its rows, gate before up.
template <class W, int Sets, int Lanes, Extra What>
struct Prefetch {
  using Weights = WeightPipeline<W, Lanes>;
  static constexpr int kGroups = kWarp / Lanes;
  const MatVecParamsFor<What>& p;
  const Rows& rows;
  const Weights& pipeline;
  const int64_t* expert_offsets;       // shared: from expert 0's weights to those of the expert in each place
  int group, group_lane, tiles, step;  // group of the warp; lane of the group; rows of the block in tiles of kGroups
  int slice;                           // of a row
  int offset, bytes, piece;            // of the slice; of a piece
  int tile, set = 0, from = 0;         // next: tile, row of the tile, byte of the slice
  __device__ void request(int stage) {
    if (tile < tiles) {
      const int row = min(tile * kGroups + group, rows.count - 1);
      const uint8_t* from_row = rows.weight(rows.begin + row, set);
      if constexpr (What == Extra::Experts)
        from_row += expert_offsets[Sets == 2 ? (rows.begin + row) / p.expert_rows : slice];
      pipeline.request(stage, from_row + offset + from, min(piece, bytes - from), group_lane);
      from += piece;
      if (from >= bytes) {
        from = 0;
        if (++set == Sets) {
          set = 0;
          tile += step;
        }
      }
    }
    pipeline.commit();
  }
};

/// A lane's work on a row's sum of one column; all parameters are known before.
template <int Sets>
struct Result {
  float* out;  // nullptr: of others
  float bias = 0.0f, add = 0.0f;
  __device__ Result(const Rows& rows, int row, int n, bool writes) {
    const bool mine = writes && row < rows.count;
    row += rows.begin;
    out = mine ? rows.out(row) + rows.element(row, n) : nullptr;
    if (mine && rows.p.biases) {
      add = rows.bias(row, Sets - 1);
      if (Sets == 2) bias = rows.bias(row, 0);
    }
  }
  /// Loads the results of earlier kernels.
  __device__ void after_wait(const Rows& rows, int row, int n) {
    if (Sets == 1 && out != nullptr && rows.p.residuals) add += rows.residual(rows.begin + row, n);
  }
  __device__ void write(const float (&y)[Sets], float scale, int glu) const {
    float result = y[Sets - 1] * scale + add;
    if constexpr (Sets == 2) result *= gate_of(y[0] * scale + bias, glu);
    if (out != nullptr) *out = result;
  }
};

/// Shared memory: pipeline, columns, split_sums. `Sets`: rows that make one number, 2 with a gate. `Lanes`: of a group.
template <class W, int N, int Sets, int Lanes, Extra What>
__global__ void __launch_bounds__(warps_for(N) * kWarp, 2)
    matvec_kernel(const __grid_constant__ MatVecParamsFor<What> p) {
  extern __shared__ __align__(128) uint8_t shared[];
  using Weights = WeightPipeline<W, Lanes>;
  constexpr int kWarps = warps_for(N), kThreads = kWarps * kWarp;
  constexpr int kGroups = kWarp / Lanes, kSums = padded_to_power(N), kLanesEach = Lanes / kSums;
  __shared__ __align__(16) float squares_of[N][kWarps], post_squares[What == Extra::PostNorm ? kWarps : 4];
  __shared__ unsigned arrivals[kMaxSplitRows];
  __shared__ int64_t expert_offsets[What == Extra::Experts ? kMaxUsedExperts : 1];
  __shared__ uint64_t arrived[kWarps][kMaxStages];
  const int warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp, group_lane = lane % Lanes, group = lane / Lanes;
  const int each = W::kLongPieces ? p.piece : W::kUnroll, units = each * Lanes;
  const int stage_bytes = Weights::stage_bytes(units, p.aligned), pipeline_bytes = kWarps * kGroups * stage_bytes;
  const Weights pipeline{shared + (warp * kGroups + group) * stage_bytes, pipeline_bytes, p.aligned, arrived[warp]};
  const typename W::Stored x(shared + p.stages * pipeline_bytes, p.columns.k);  // all N are read
  const Rows rows(p);
  const int row_warp = warp / p.split, slice = warp - row_warp * p.split, tiles = (rows.count + kGroups - 1) / kGroups;
  const int first = slice * p.slice_units, end = min(first + p.slice_units, p.columns.k / W::kUnit),
            step = p.workers / p.split;
  // An expert's slice of a row is its row.
  Prefetch<W, Sets, Lanes, What> prefetch{p,
                                          rows,
                                          pipeline,
                                          expert_offsets,
                                          group,
                                          group_lane,
                                          tiles,
                                          step,
                                          slice,
                                          What == Extra::Experts && Sets == 1 ? 0 : W::bytes(first),
                                          W::bytes(end - first),
                                          W::bytes(units),
                                          warp < p.workers ? row_warp : tiles};
  const int first_tile = prefetch.tile;  // it moves on with the requests
  allow_next(p.overlaps_next);
  pipeline.begin(p.stages, lane);
  if constexpr (What != Extra::Experts) {
#pragma unroll 1
    for (int s = 0; s < p.stages; ++s) prefetch.request(s);
  }

  // Of the group's sums, a lane has that of one column in the end.
  const int n = group_lane / kLanesEach;
  const bool writes = group_lane % kLanesEach == 0 && n < p.columns.count;
  const SplitKSums split_sums{
      reinterpret_cast<float*>(shared + p.stages * pipeline_bytes + W::Stored::bytes(p.columns.k, N)), arrivals,
      p.split, kGroups * Sets * kSums};
  int tile = first_tile;
  Result<Sets> result(rows, tile * kGroups + group, n, writes);
  Pieces<N, kWarps, What> pieces(p.columns, extras_of(p), warp, lane);
  if (p.split > 1) split_sums.begin(kThreads);
  x.clear(N, kThreads);
  int stage = 0, round = 0;
  wait_previous();
  if constexpr (What == Extra::Experts) {  // only now it is known who they are
    if (static_cast<int>(threadIdx.x) < p.used) {
      const int place = static_cast<int>(threadIdx.x);
      expert_offsets[place] =
          __ldcg(p.ids + place) * p.expert_bytes - (Sets == 2 ? place * p.expert_rows * p.row_bytes : 0);
    }
    __syncthreads();
#pragma unroll 1
    for (int s = 0; s < p.stages; ++s) prefetch.request(s);
  }
  result.after_wait(rows, tile * kGroups + group, n);
  {
    constexpr int kSquares = padded_to_power(N);
    float squares[kSquares] = {};
    if constexpr (What == Extra::PostNorm) {
      pieces.store_post_normed(x, squares[0], [&](float v) {
        v = warp_sum(v);
        if (lane == 0) post_squares[warp] = v;
        __syncthreads();
        return sum_of<kWarps>(post_squares);
      });
    } else {
      pieces.store(x, squares);
    }
    if (p.columns.norm) {
      const float total = sums_of<kSquares, kWarp>(squares, lane);
      const int column = lane / (kWarp / kSquares);
      if (lane % (kWarp / kSquares) == 0 && column < N) squares_of[column][warp] = total;
    }
  }
  __syncthreads();

  typename W::Record held;  // of the first column: the first of the slice
  constexpr bool kHolds = N == 1 && W::kHolds;
  if constexpr (kHolds) held = x.record(0, max(min(first + group_lane, end - 1), 0));
  float scale = 1.0f;
  if (p.columns.norm) scale = rsqrtf(sum_of<kWarps>(squares_of[n % N]) * p.k_inverse + p.columns.eps);
#pragma unroll 1
  while (tile < tiles) {
    float y[Sets];
#pragma unroll
    for (int set = 0; set < Sets; ++set) {
      float sums[kSums] = {};
#pragma unroll 1
      for (int from = first; from < end; from += units) {
        pipeline.wait(stage, round, p.stages);
        const uint8_t* piece = pipeline.piece(stage);
#pragma unroll 1
        for (int j = 0; j < each; j += W::kUnroll) {
#pragma unroll
          for (int i = 0; i < W::kUnroll; ++i) {
            const int at = (j + i) * Lanes + group_lane, unit = from + at;
            if (unit >= end) break;
            const typename W::Weights w(piece, at);
#pragma unroll
            for (int c = 0; c < N; ++c) {
              sums[c] += w.dot(kHolds && i == 0 && j == 0 && from == first ? held : x.record(c, unit));
            }
          }
        }
        __syncwarp();
        prefetch.request(stage);
        if (++stage == p.stages) {
          stage = 0;
          ++round;
        }
      }
      y[set] = sums_of<kSums, Lanes>(sums, lane);
    }
    const int next = tile + step;
    bool whole = true;
    if (p.split > 1) {
      const int at = group * Sets * kSums + n;
#pragma unroll
      for (int set = 0; set < Sets; ++set) split_sums.of(tile, slice)[at + set * kSums] = y[set];
      whole = split_sums.last(tile);
      if (whole) {
#pragma unroll
        for (int set = 0; set < Sets; ++set) y[set] = split_sums.whole(tile, at + set * kSums);
      }
    }
    if (whole) result.write(y, scale, p.glu);
    tile = next;
    result = Result<Sets>(rows, tile * kGroups + group, n, writes);
    result.after_wait(rows, tile * kGroups + group, n);
  }
}

}  // namespace etggml::cuda
