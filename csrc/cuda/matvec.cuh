// Rows of matrices times one to eight columns: norm and quantisation before, bias, gate and residual behind, in one
// kernel. One block of eight warps a multiprocessor; a warp has every eighth row of its block's share and keeps the next
// pieces of its rows on their way into shared memory. The first of them are asked for before the kernel waits for the
// one before it, so the memory stays busy across kernels.
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
  int units;  // rows, or pairs of gate and up
  int glu;
};

constexpr int kRingBytes = 8192;  // of a warp, about

template <class W>
__host__ __device__ constexpr int stages() {
  return W::kPieceBytes * 8 <= kRingBytes ? 8 : W::kPieceBytes * 3 > kRingBytes ? 3 : kRingBytes / W::kPieceBytes;
}
template <class W>
__host__ __device__ constexpr int stage_bytes() {
  return (W::kPieceBytes + 15 + 4) / 16 * 16;  // a word more: see Unaligned
}
/// Kernels are made for 1, 2, 4 and 8 columns.
inline int padded_columns(int count) { return count <= 2 ? count : count <= 4 ? 4 : 8; }
template <class W>
size_t matvec_shared(int k, int columns) {
  return static_cast<size_t>(kWarps) * stages<W>() * stage_bytes<W>() + W::Stored::bytes(k, columns);
}

/// Where a warp is in its sequence of pieces: unit, row of the unit (gate, up), piece of the row.
struct Cursor {
  int unit, row, piece;
  __device__ void advance(int pieces, int rows) {
    if (++piece < pieces) return;
    piece = 0;
    if (++row < rows) return;
    row = 0;
    unit += kWarps;
  }
};

__device__ __forceinline__ int segment_of(const MatVecParams& p, int& row) {
  if (p.glu || row < p.segment[0].rows) return 0;
  row -= p.segment[0].rows;
  if (row < p.segment[1].rows) return 1;
  row -= p.segment[1].rows;
  return 2;
}

__device__ __forceinline__ const uint8_t* row_of(const MatVecParams& p, const Cursor& at) {
  int row = at.unit;
  const int s = p.glu ? at.row : segment_of(p, row);
  const uint8_t* weight = s == 0 ? p.segment[0].weight : s == 1 ? p.segment[1].weight : p.segment[2].weight;
  return weight + row * p.row_bytes;
}

template <class W, int Copy>
__device__ __forceinline__ void fetch(const MatVecParams& p, const Cursor& at, int end, int lane, uint8_t* stage) {
  if (at.unit < end) {
    const int first = at.piece * kPiece;
    const int bytes = static_cast<int>(W::bytes(min(kPiece, p.columns.k - first)));
    const uint8_t* from = row_of(p, at) + W::bytes(first);
    for (int i = lane * Copy; i < bytes; i += kWarp * Copy) copy_async<Copy>(stage + i, from + i);
  }
  commit_copies();
}

__device__ __forceinline__ float gate_of(float v, int glu) {
  if (glu == MatVecCall::Swiglu) return v / (1.0f + expf(-v));
  constexpr float kRoot = 0.79788456080286535588f, kCube = 0.044715f;  // GELU by tanh
  return 0.5f * v * (1.0f + tanhf(kRoot * v * (1.0f + kCube * v * v)));
}

/// The sums of one row, one column a lane.
template <int N>
__device__ __forceinline__ float reduce(float (&acc)[N], int lane) {
  float mine = 0.0f;
#pragma unroll
  for (int n = 0; n < N; ++n) {
    const float total = warp_sum(acc[n]);
    if (lane == n) mine = total;
    acc[n] = 0.0f;
  }
  return mine;
}

template <class W, int N, int Copy>
__global__ void __launch_bounds__(kThreads) matvec_kernel(const MatVecParams p) {
  extern __shared__ __align__(16) uint8_t shared[];
  constexpr int kStages = stages<W>(), kStageBytes = stage_bytes<W>();
  const int warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp;
  const int k = p.columns.k, pieces = (k + kPiece - 1) / kPiece, rows = p.glu ? 2 : 1;
  const int begin = static_cast<int>(static_cast<int64_t>(p.units) * blockIdx.x / gridDim.x);
  const int end = static_cast<int>(static_cast<int64_t>(p.units) * (blockIdx.x + 1) / gridDim.x);
  uint8_t* ring = shared + warp * kStages * kStageBytes;
  allow_next();
  Cursor ahead{begin + warp, 0, 0}, at = ahead;
#pragma unroll
  for (int s = 0; s < kStages; ++s) {
    fetch<W, Copy>(p, ahead, end, lane, ring + s * kStageBytes);
    ahead.advance(pieces, rows);
  }
  wait_previous();
  typename W::Stored x(shared + kWarps * kStages * kStageBytes, k, N);  // N, not count: all N are read
  load_columns(p.columns, x);

  float acc[N] = {};
  float gate = 0.0f, residual = 0.0f;
  int stage = 0;
  while (at.unit < end) {
    int row = at.unit;
    const int s = segment_of(p, row);
    const auto& segment = p.segment[s];
    if (at.piece == 0 && segment.residual != nullptr && lane < p.columns.count)
      residual = __ldcg(segment.residual + static_cast<size_t>(lane) * segment.rows + row);
    wait_copies<kStages - 1>();
    __syncwarp();
    const int first = at.piece * kPiece, left = k - first;
    uint8_t* piece = ring + stage * kStageBytes;
    if constexpr (W::kBlock == 1) {
      W::dot(piece, x, first, lane, left, acc);
    } else {
      if (lane * 32 < left) W::dot(piece, x, first, lane, acc);
    }
    __syncwarp();
    fetch<W, Copy>(p, ahead, end, lane, piece);
    ahead.advance(pieces, rows);
    stage = stage + 1 == kStages ? 0 : stage + 1;
    if (at.piece == pieces - 1) {
      float y = reduce(acc, lane);
      const float* bias = p.glu && at.row == 1 ? p.segment[1].bias : segment.bias;
      if (bias != nullptr) y += __ldg(bias + row);
      if (p.glu && at.row == 0) {
        gate = y;
      } else if (lane < p.columns.count) {
        if (p.glu) y *= gate_of(gate, p.glu);
        if (segment.residual != nullptr) y += residual;
        segment.out[static_cast<size_t>(lane) * segment.rows + row] = y;
      }
    }
    at.advance(pieces, rows);
  }
}

template <class W, int Copy>
bool launch_matvec(int device, cudaStream_t stream, const MatVecParams& p) {
  const int n = padded_columns(p.columns.count);
  auto* kernel = n == 1   ? matvec_kernel<W, 1, Copy>
                 : n == 2 ? matvec_kernel<W, 2, Copy>
                 : n == 4 ? matvec_kernel<W, 4, Copy>
                          : matvec_kernel<W, 8, Copy>;
  const int blocks = (p.units + kWarps - 1) / kWarps;
  const int grid = blocks < multiprocessors(device) ? blocks : multiprocessors(device);
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
