// Rows of matrices times one to eight columns: norm and quantisation before, bias, gate and residual behind, in one
// kernel. A piece of a row is one warp's work, which keeps its next pieces on their way into shared memory: what limits
// these kernels is the length of one warp's instructions, so there are many warps with little each. The first of them
// are asked for before the kernel waits for the one before it, so the memory stays busy across kernels.
#pragma once

#include "calls.h"
#include "copy.cuh"
#include "dot_float.cuh"
#include "dot_int8.cuh"

namespace etggml::cuda {

struct MatVecParams {
  struct Segment {
    const uint8_t* weight;
    const float* bias;
    const float* residual;
    float* out;
    int rows;
  };
  Segment segment[MatVecCall::kMaxSegments];
  Columns columns;
  int64_t row_bytes;
  int rows;       // of all segments; with a gate, row 2 u is gate u and row 2 u + 1 is up u
  int per_block;  // rows, even
  int pieces;     // of a row
  int batch;      // rows between two barriers, even
  bool overlaps_next;
  int glu;
};

constexpr int kRingBytes = 4608;  // of a warp, about

template <class W>
__host__ __device__ constexpr int stages() {
  return W::kPieceBytes * 6 <= kRingBytes ? 6 : W::kPieceBytes * 2 > kRingBytes ? 2 : kRingBytes / W::kPieceBytes;
}
template <class W>
__host__ __device__ constexpr int stage_bytes() {
  return (W::kPieceBytes + 15 + 4) / 16 * 16;  // a word more: see Unaligned
}
/// Kernels are made for 1, 2, 4 and 8 columns.
inline int padded_columns(int count) { return count <= 2 ? count : count <= 4 ? 4 : 8; }
constexpr int kBatch = 128;  // pieces of a block between two barriers
constexpr int kParts = 8;    // partial sums of a piece that are left to the threads that finish its row

/// Ring of every warp; two batches of partial sums; columns.
template <class W>
size_t matvec_shared(int k, int columns) {
  return static_cast<size_t>(kWarps) * stages<W>() * stage_bytes<W>() +
         2 * sizeof(float) * kBatch * kParts * static_cast<size_t>(columns) + W::Stored::bytes(k, columns);
}

/// Segment and row of it that a block's row is. Fields are chosen by comparison, not by index: parameters that are
/// indexed cost a slow load each.
struct Place {
  int row;
  bool second, third;
  __device__ Place(const MatVecParams& p, int at) : row(at), second(false), third(false) {
    if (p.glu) {
      row = at / 2;
      second = at % 2 != 0;
    } else if (at >= p.segment[0].rows) {
      row -= p.segment[0].rows;
      second = row < p.segment[1].rows;
      third = !second;
      if (third) row -= p.segment[1].rows;
    }
  }
  template <class T>
  __device__ T of(T a, T b, T c) const {
    return third ? c : second ? b : a;
  }
};

/// Where a warp is in its sequence of pieces: every kWarps-th of its block's, row after row.
struct Cursor {
  int row, piece;
  __device__ void advance(const MatVecParams& p) {
    piece += kWarps;
    while (piece >= p.pieces) {
      piece -= p.pieces;
      ++row;
    }
  }
};

template <class W, int Copy>
__device__ __forceinline__ void fetch(const MatVecParams& p, const Cursor& at, int end, int lane, uint8_t* stage) {
  if (at.row < end) {
    const int first = at.piece * kPiece;
    const int bytes = static_cast<int>(W::bytes(min(kPiece, p.columns.k - first)));
    const Place place(p, at.row);
    const uint8_t* from = place.of(p.segment[0].weight, p.segment[1].weight, p.segment[2].weight) +
                          place.row * p.row_bytes + W::bytes(first) + lane * Copy;
    constexpr int kCopies = (W::kPieceBytes + kWarp * Copy - 1) / (kWarp * Copy);
    if constexpr (kCopies <= 8) {
#pragma unroll
      for (int i = 0; i < kCopies; ++i) {
        const int offset = i * kWarp * Copy;
        if (offset + lane * Copy < bytes) copy_async<Copy>(stage + lane * Copy + offset, from + offset);
      }
    } else {
#pragma unroll 4
      for (int offset = 0; offset + lane * Copy < bytes; offset += kWarp * Copy)
        copy_async<Copy>(stage + lane * Copy + offset, from + offset);
    }
  }
  commit_copies();
}

__device__ __forceinline__ float gate_of(float v, int glu) {
  if (glu == MatVecCall::Swiglu) return v / (1.0f + expf(-v));
  constexpr float kRoot = 0.79788456080286535588f, kCube = 0.044715f;  // GELU by tanh
  return 0.5f * v * (1.0f + tanhf(kRoot * v * (1.0f + kCube * v * v)));
}

/// Rows [begin, end) of a batch, whose partial sums lie in `partial` [column][piece][part]: a group of kParts threads
/// finishes a row.
template <int N>
__device__ __forceinline__ void finish_rows(const MatVecParams& p, const float* partial, const float* scales, int begin,
                                            int end) {
  const int group = threadIdx.x / kParts, part = threadIdx.x % kParts;
  const int rows_here = (end - begin + 1) / 2 * 2, jobs = N == 1 ? rows_here : rows_here * p.columns.count;
  constexpr int kAtOnce = kThreads / kParts;
#pragma unroll 1
  for (int job = group; job - group < jobs; job += kAtOnce) {
    // Rows of one column side by side: the two of a pair are neighbours.
    const int n = N == 1 ? 0 : min(job / rows_here, p.columns.count - 1);
    const int at = begin + (N == 1 ? job : job % rows_here);
    const Place place(p, at);
    const int slot = min(at, end - 1) - begin;
    const float* bias = place.of(p.segment[0].bias, p.segment[1].bias, p.segment[2].bias);
    const float* residual = place.of(p.segment[0].residual, p.segment[1].residual, p.segment[2].residual);
    float* out = place.of(p.segment[0].out, p.segment[1].out, p.segment[2].out);
    const int rows = place.of(p.segment[0].rows, p.segment[1].rows, p.segment[2].rows);
    const bool mine = at < end && part == 0 && job < jobs;
    float add = 0.0f;
    if (mine && residual != nullptr) add = __ldcg(residual + static_cast<size_t>(n) * rows + place.row);
    if (mine && bias != nullptr && !p.glu) add += __ldg(bias + place.row);
    float y = 0.0f;
#pragma unroll 1
    for (int piece = 0; piece < p.pieces; ++piece) y += partial[(n * kBatch + slot * p.pieces + piece) * kParts + part];
#pragma unroll
    for (int offset = kParts / 2; offset > 0; offset /= 2) y += __shfl_xor_sync(0xffffffffu, y, offset);
    y *= scales[n];
    if (p.glu) {
      if (bias != nullptr && at < end) y += __ldg(bias + place.row);
      const float up = __shfl_down_sync(0xffffffffu, y, kParts);
      if (mine && !place.second) out[static_cast<size_t>(n) * rows + place.row] = gate_of(y, p.glu) * up + add;
    } else if (mine) {
      out[static_cast<size_t>(n) * rows + place.row] = y + add;
    }
  }
}

template <class W, int N, int Copy>
__global__ void __launch_bounds__(kThreads) matvec_kernel(const __grid_constant__ MatVecParams p) {
  extern __shared__ __align__(16) uint8_t shared[];
  __shared__ float squares_of[N][kWarps], scales[N];
  constexpr int kStages = stages<W>(), kStageBytes = stage_bytes<W>();
  const int warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp;
  const int k = p.columns.k;
  const int begin = blockIdx.x * p.per_block, end = min(begin + p.per_block, p.rows);
  uint8_t* ring = shared + warp * kStages * kStageBytes;
  float* partial = reinterpret_cast<float*>(shared + kWarps * kStages * kStageBytes);
  allow_next(p.overlaps_next);
  Cursor ahead{begin, warp - kWarps};
  ahead.advance(p);
#pragma unroll 1
  for (int s = 0; s < kStages; ++s) {
    fetch<W, Copy>(p, ahead, end, lane, ring + s * kStageBytes);
    ahead.advance(p);
  }
  typename W::Stored x(reinterpret_cast<uint8_t*>(partial + 2 * kBatch * kParts * N), k, N);  // all N are read
  // Columns share the warps.
  constexpr int kColumnWarps = kWarps / N, kColumnThreads = kColumnWarps * kWarp;
  const int column = warp / kColumnWarps, rank = threadIdx.x % kColumnThreads;
  const Gains gains(p.columns, rank, kColumnThreads);
  wait_previous();
  if (column < p.columns.count) {
    const float total = warp_sum(load_column<W::kSums>(p.columns, column, rank, kColumnThreads, gains, x));
    if (lane == 0) squares_of[column][warp % kColumnWarps] = total;
  }
  __syncthreads();
  if (threadIdx.x < N) {
    float total = 0.0f;
#pragma unroll
    for (int i = 0; i < kColumnWarps; ++i) total += squares_of[threadIdx.x][i];
    scales[threadIdx.x] = p.columns.norm ? rsqrtf(total / static_cast<float>(k) + p.columns.eps) : 1.0f;
  }

  int stage = 0, half = 0;
  Cursor at{begin, warp - kWarps};
  at.advance(p);
#pragma unroll 1
  for (int batch = begin; batch < end; batch += p.batch) {
    const int batch_end = min(batch + p.batch, end);
    float* sums = partial + half * kBatch * kParts * N;
#pragma unroll 1
    for (; at.row < batch_end; at.advance(p)) {
      float acc[N] = {};
      wait_copies<kStages - 1>();
      __syncwarp();
      const int first = at.piece * kPiece, left = k - first;
      uint8_t* from = ring + stage * kStageBytes;
      if constexpr (W::kBlock == 1) {
        W::dot(from, x, first, lane, left, acc);
      } else {
        if (lane * 32 < left) W::dot(from, x, first, lane, acc);
      }
      __syncwarp();
      fetch<W, Copy>(p, ahead, end, lane, from);
      ahead.advance(p);
      stage = stage + 1 == kStages ? 0 : stage + 1;
      float* to = sums + ((at.row - batch) * p.pieces + at.piece) * kParts + lane;
#pragma unroll
      for (int n = 0; n < N; ++n) {
        acc[n] += __shfl_xor_sync(0xffffffffu, acc[n], 16);
        acc[n] += __shfl_xor_sync(0xffffffffu, acc[n], 8);
        if (lane < kParts) to[n * kBatch * kParts] = acc[n];
      }
    }
    __syncthreads();
    finish_rows<N>(p, sums, scales, batch, batch_end);
    half ^= 1;  // the next batch writes the other half while slower warps still read this one
  }
}

template <class W, int Copy>
bool launch_matvec(int device, cudaStream_t stream, MatVecParams p) {
  const int n = padded_columns(p.columns.count);
  auto* kernel = n == 1   ? matvec_kernel<W, 1, Copy>
                 : n == 2 ? matvec_kernel<W, 2, Copy>
                 : n == 4 ? matvec_kernel<W, 4, Copy>
                          : matvec_kernel<W, 8, Copy>;
  p.pieces = (p.columns.k + kPiece - 1) / kPiece;
  // A piece a warp at least, two blocks a multiprocessor where there is more; pairs of rows stay together.
  const int64_t all = static_cast<int64_t>(p.rows) * p.pieces,
                one = static_cast<int64_t>(multiprocessors(device)) * kWarps;
  const int blocks = multiprocessors(device) * (all * 2 > one * 3 ? 2 : 1);
  const int share = (p.rows + blocks - 1) / blocks, least = (kWarps + p.pieces - 1) / p.pieces;
  p.per_block = ((share < least ? least : share) + 1) / 2 * 2;
  p.batch = kBatch / p.pieces / 2 * 2;
  const int grid = (p.rows + p.per_block - 1) / p.per_block;
  return launch(device, stream, dim3(grid), dim3(kThreads), matvec_shared<W>(p.columns.k, n), kernel, p);
}

/// What a type's file gives: shared memory needed, and the launch. `aligned`: largest power of two that divides row
/// bytes and addresses.
struct MatVecType {
  size_t (*shared)(int k, int columns);
  bool (*launch)(int device, cudaStream_t stream, const MatVecParams& p, int aligned);
  int alignment;  // the least it takes
};

template <class W>
bool launch_any(int device, cudaStream_t stream, const MatVecParams& p, int aligned) {
  if (aligned >= 16) return launch_matvec<W, 16>(device, stream, p);
  if constexpr (!W::kAlignedRows) {
    if (aligned >= 4) return launch_matvec<W, 4>(device, stream, p);
  }
  return false;
}

template <class W>
constexpr MatVecType matvec_type() {
  return {matvec_shared<W>, launch_any<W>, W::kAlignedRows ? 16 : 4};
}

extern const MatVecType kMatVecQ8_0, kMatVecQ4_0, kMatVecQ4_K, kMatVecQ5_K, kMatVecQ6_K, kMatVecF16, kMatVecBF16,
    kMatVecF32;

}  // namespace etggml::cuda
