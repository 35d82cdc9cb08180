// Rows of matrices times one to eight columns: norm and quantisation before, bias, gate and residual behind, in one
// kernel. A block has neighbouring rows. As many as fit are requested before the kernel waits for the previous one, so
// the memory stays busy across kernels. For that, the next kernel's block must fit beside this one: a block takes less
// than half of a multiprocessor's registers and shared memory. Rows are distributed to groups of lanes. The groups of a
// warp have neighbouring rows and the same elements of them, so they read the same activations together.
#pragma once

#include "matvec_params.cuh"
#include "ring.cuh"
#include "shares.cuh"
#include "sums.cuh"

namespace etggml::cuda {

/// Of a block. Many columns take registers, and spills are slow: all of L1 is shared memory.
__host__ __device__ constexpr int warps_for(int columns) { return columns <= 2 ? 16 : 8; }

__device__ __forceinline__ float gate_of(float v, int glu) {
  if (glu == MatVecCall::Swiglu) return v / (1.0f + expf(-v));
  constexpr float kRoot = 0.79788456080286535588f, kCube = 0.044715f;  // GELU by tanh
  return 0.5f * v * (1.0f + tanhf(kRoot * v * (1.0f + kCube * v * v)));
}

/// Which pieces a group of lanes asks for, one after the other: of its share of each of its rows, gate before up.
template <class W, int Sets, int Lanes>
struct Feed {
  using Weights = Ring<W, Lanes>;
  static constexpr int kGroups = kWarp / Lanes;
  const Rows& rows;
  const Weights& ring;
  int own, part, tiles, step;   // group of the warp; lane of the group; rows of the block in tiles of kGroups
  int offset, bytes, piece;     // of the share; of a piece
  int tile, set = 0, from = 0;  // next: tile, row of the tile, byte of the share
  __device__ void ask(int slot) {
    if (tile < tiles) {
      const int row = min(tile * kGroups + own, rows.count - 1);
      ring.ask(slot, rows.weight(rows.begin + row, set) + offset + from, min(piece, bytes - from), part);
      from += piece;
      if (from >= bytes) {
        from = 0;
        if (++set == Sets) {
          set = 0;
          tile += step;
        }
      }
    }
    ring.asked();
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

/// Shared memory: ring, columns, shares. `Sets`: rows that make one number, 2 with a gate. `Lanes`: of a group.
template <class W, int N, int Sets, int Lanes>
__global__ void __launch_bounds__(warps_for(N) * kWarp, 2) matvec_kernel(const __grid_constant__ MatVecParams p) {
  extern __shared__ __align__(128) uint8_t shared[];
  using Weights = Ring<W, Lanes>;
  constexpr int kWarps = warps_for(N), kThreads = kWarps * kWarp;
  constexpr int kGroups = kWarp / Lanes, kSums = padded_to_power(N), kLanesEach = Lanes / kSums;
  __shared__ __align__(16) float squares_of[N][kWarps];
  __shared__ unsigned given[kMostSharedRows];
  __shared__ uint64_t arrived[kWarps][kMostSlots];
  const int warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp, part = lane % Lanes, own = lane / Lanes;
  const int each = W::kLongPieces ? p.piece : W::kUnroll, units = each * Lanes;
  const int slot_bytes = Weights::slot_bytes(units, p.aligned), ring_bytes = kWarps * kGroups * slot_bytes;
  const Weights ring{shared + (warp * kGroups + own) * slot_bytes, ring_bytes, p.aligned, arrived[warp]};
  const typename W::Stored x(shared + p.slots * ring_bytes, p.columns.k);  // all N are read
  const Rows rows(p);
  const int row_warp = warp / p.split, share = warp - row_warp * p.split, tiles = (rows.count + kGroups - 1) / kGroups;
  const int first = share * p.each, end = min(first + p.each, p.columns.k / W::kUnit), step = p.workers / p.split;
  Feed<W, Sets, Lanes> feed{rows,
                            ring,
                            own,
                            part,
                            tiles,
                            step,
                            W::bytes(first),
                            W::bytes(end - first),
                            W::bytes(units),
                            warp < p.workers ? row_warp : tiles};
  const int first_tile = feed.tile;  // it moves on with the requests
  allow_next(p.overlaps_next);
  ring.begin(p.slots, lane);
#pragma unroll 1
  for (int s = 0; s < p.slots; ++s) feed.ask(s);

  // Of the group's sums, a lane has that of one column in the end.
  const int n = part / kLanesEach;
  const bool writes = part % kLanesEach == 0 && n < p.columns.count;
  const Shares shares{reinterpret_cast<float*>(shared + p.slots * ring_bytes + W::Stored::bytes(p.columns.k, N)), given,
                      p.split, kGroups * Sets * kSums};
  int tile = first_tile;
  Result<Sets> result(rows, tile * kGroups + own, n, writes);
  Pieces<N, kWarps> pieces(p.columns, warp, lane);
  if (p.split > 1) shares.begin(kThreads);
  x.clear(N, kThreads);
  int slot = 0, round = 0;
  wait_previous();
  result.after_wait(rows, tile * kGroups + own, n);
  {
    constexpr int kSquares = padded_to_power(N);
    float squares[kSquares] = {};
    pieces.store(x, squares);
    if (p.columns.norm) {
      const float total = sums_of<kSquares, kWarp>(squares, lane);
      const int column = lane / (kWarp / kSquares);
      if (lane % (kWarp / kSquares) == 0 && column < N) squares_of[column][warp] = total;
    }
  }
  __syncthreads();

  typename W::Record held;  // of the first column: the first of the share
  constexpr bool kHolds = N == 1 && W::kHolds;
  if constexpr (kHolds) held = x.record(0, max(min(first + part, end - 1), 0));
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
        ring.wait(slot, round, p.slots);
        const uint8_t* piece = ring.piece(slot);
#pragma unroll 1
        for (int j = 0; j < each; j += W::kUnroll) {
#pragma unroll
          for (int i = 0; i < W::kUnroll; ++i) {
            const int at = (j + i) * Lanes + part, unit = from + at;
            if (unit >= end) break;
            const typename W::Weights w(piece, at);
#pragma unroll
            for (int c = 0; c < N; ++c) {
              sums[c] += w.dot(kHolds && i == 0 && j == 0 && from == first ? held : x.record(c, unit));
            }
          }
        }
        __syncwarp();
        feed.ask(slot);
        if (++slot == p.slots) {
          slot = 0;
          ++round;
        }
      }
      y[set] = sums_of<kSums, Lanes>(sums, lane);
    }
    const int next = tile + step;
    bool whole = true;
    if (p.split > 1) {
      const int at = own * Sets * kSums + n;
#pragma unroll
      for (int set = 0; set < Sets; ++set) shares.of(tile, share)[at + set * kSums] = y[set];
      whole = shares.last(tile);
      if (whole) {
#pragma unroll
        for (int set = 0; set < Sets; ++set) y[set] = shares.whole(tile, at + set * kSums);
      }
    }
    if (whole) result.write(y, scale, p.glu);
    tile = next;
    result = Result<Sets>(rows, tile * kGroups + own, n, writes);
    result.after_wait(rows, tile * kGroups + own, n);
  }
}

}  // namespace etggml::cuda
