// Rows of matrices times one to eight columns: norm and quantisation before, bias, gate and residual behind, in one
// kernel. A block has neighbouring rows; they are asked for, as many as fit, before the kernel waits for the one before
// it, so the memory stays busy across kernels. A block takes less than half of a multiprocessor's registers and shared
// memory, since the next kernel's block has to fit beside it for that. A row is one warp's work: warps never wait for
// each other once the columns are there.
#pragma once

#include <algorithm>

#include "calls.h"
#include "dot_float.cuh"
#include "dot_int8.cuh"
#include "ring.cuh"

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
  int rows;       // of all segments; with a gate, as many of each
  int per_block;  // rows of the largest block
  int workers;    // warps
  float each;     // 1 / columns.k
  int stages, stage_rows, stage_bytes;
  bool overlaps_next;
  int glu;
};

constexpr int64_t kMostElements = 65536;  // of a row

/// Kernels are made for these numbers of columns.
inline int padded_columns(int count) { return count <= 2 ? count : count <= 4 ? 4 : count == 5 ? 5 : 8; }

/// Rows of a block that are in shared memory together: row j of segment i is at origin(i) + j * row_bytes. With a gate,
/// the first half are gate's and the others up's. Fields of parameters are chosen by comparison, not by index: those
/// that are indexed cost a slow load each.
struct Stage {
  int rows, first[MatVecCall::kMaxSegments + 1];  // row j belongs to segment i from first[i] on
  int at[MatVecCall::kMaxSegments];               // of row 0 in the segment, if it had one there
  __device__ Stage(const MatVecParams& p, int begin, int rows_) : rows(rows_) {
    const int a = p.segment[0].rows, b = p.segment[1].rows;
    first[0] = 0;
    first[3] = rows;
    if (p.glu) {
      first[1] = rows / 2;
      first[2] = rows;
      at[0] = begin / 2;
      at[1] = begin / 2 - rows / 2;
      at[2] = 0;
    } else {
      first[1] = min(max(a - begin, 0), rows);
      first[2] = min(max(a + b - begin, 0), rows);
      at[0] = begin;
      at[1] = begin - a;
      at[2] = begin - a - b;
    }
  }
  template <class T>
  __device__ T of(int j, T x, T y, T z) const {
    return j >= first[2] ? z : j >= first[1] ? y : x;
  }
  __device__ int row(int j) const { return j + of(j, at[0], at[1], at[2]); }
  template <int I>
  __device__ const uint8_t* origin(const MatVecParams& p) const {
    return p.segment[I].weight + at[I] * p.row_bytes;
  }
  /// Where row 0 of a segment is in the stage: as its address within 16 bytes, and apart from the pieces of others.
  template <int I>
  __device__ int shift(const MatVecParams& p) const {
    return I * kApart + static_cast<int>(reinterpret_cast<uintptr_t>(origin<I>(p)) & 15);
  }
  template <int I>
  __device__ Run run(const MatVecParams& p, uint8_t* memory) const {
    const int row_bytes = static_cast<int>(p.row_bytes);
    return {origin<I>(p) + first[I] * p.row_bytes, memory + shift<I>(p) + first[I] * row_bytes,
            (first[I + 1] - first[I]) * row_bytes};
  }
  /// Between the rows that a group of lanes has at a time.
  template <int Sets>
  __device__ int apart(const MatVecParams& p) const {
    return p.glu ? rows / 2 : (rows + Sets - 1) / Sets;
  }
  static constexpr int kApart = 48;
};
constexpr int kStageExtra = Stage::kApart * 2 + 32;

/// Sums over groups of `Lanes` lanes of M numbers each (powers of two): lane l of a group is left with number
/// l / (Lanes / M).
template <int M, int Lanes>
__device__ __forceinline__ float sums_of(float (&v)[M], int lane) {
  int offset = Lanes / 2;
#pragma unroll
  for (int count = M; count > 1; count /= 2, offset /= 2) {
    const bool upper = (lane & offset) != 0;
#pragma unroll
    for (int i = 0; i < count / 2; ++i) {
      const float keep = upper ? v[i + count / 2] : v[i], give = upper ? v[i] : v[i + count / 2];
      v[i] = keep + __shfl_xor_sync(0xffffffffu, give, offset);
    }
  }
#pragma unroll
  for (int last = Lanes / M / 2; last > 0; last /= 2) v[0] += __shfl_xor_sync(0xffffffffu, v[0], last);
  return v[0];
}

__device__ __forceinline__ float gate_of(float v, int glu) {
  if (glu == MatVecCall::Swiglu) return v / (1.0f + expf(-v));
  constexpr float kRoot = 0.79788456080286535588f, kCube = 0.044715f;  // GELU by tanh
  return 0.5f * v * (1.0f + tanhf(kRoot * v * (1.0f + kCube * v * v)));
}

/// Of numbers in shared memory, by each thread; four at a time where they are aligned for it.
template <int Count>
__device__ __forceinline__ float sum_of(const float* v) {
  if constexpr (Count % 4 == 0) {
    float4 total = make_float4(0, 0, 0, 0);
#pragma unroll
    for (int i = 0; i < Count / 4; ++i) {
      const float4 four = reinterpret_cast<const float4*>(v)[i];
      total = make_float4(total.x + four.x, total.y + four.y, total.z + four.z, total.w + four.w);
    }
    return (total.x + total.y) + (total.z + total.w);
  } else {
    float total = 0.0f;
#pragma unroll
    for (int i = 0; i < Count; ++i) total += v[i];
    return total;
  }
}

__host__ __device__ constexpr int padded_to_power(int n) {
  return n <= 1 ? 1 : n <= 2 ? 2 : n <= 4 ? 4 : n <= 8 ? 8 : 16;
}

/// A block's rows, all blocks having as many or one less (with a gate two less), and its requests.
struct Requests {
  const MatVecParams& p;
  const Ring& ring;
  uint8_t* memory;
  int begin, rows;
  __device__ Requests(const MatVecParams& p_, const Ring& ring_, uint8_t* memory_)
      : p(p_), ring(ring_), memory(memory_) {
    const int unit = p.glu ? 2 : 1, all = p.rows / unit, blocks = static_cast<int>(gridDim.x), least = all / blocks,
              more = all - least * blocks, block = static_cast<int>(blockIdx.x);
    begin = (block * least + min(block, more)) * unit;
    rows = (least + (block < more ? 1 : 0)) * unit;
  }
  __device__ Stage stage(int first) const { return Stage(p, begin + first, min(p.stage_rows, rows - first)); }
  __device__ void ask(int first, int slot) const {
    if (first >= rows) return ring.request_nothing();
    const Stage s = stage(first);
    uint8_t* to = memory + slot * p.stage_bytes;
    ring.request(slot, {s.run<0>(p, to), s.run<1>(p, to), s.run<2>(p, to)});
  }
};

/// What a lane does for the rows of its group: two of them with a gate or for two sets, and which of their sums it has
/// in the end. All of it is known before the columns are.
template <int N, int Sets, int Lanes>
struct Job {
  static constexpr int kGroups = kWarp / Lanes, kSums = padded_to_power(N * Sets), kLanesEach = Lanes / kSums;
  const uint8_t *a, *b;  // rows
  float* out;            // nullptr: of others
  const float* residual;
  float bias;
  __device__ Job(const MatVecParams& p, const Stage& stage, const uint8_t* memory, int at, int lane) {
    const int part = lane % Lanes, index = part / kLanesEach, set = index / N, n = index - set * N;
    const int apart = stage.apart<Sets>(p), first = min(at, apart - 1), second = min(first + apart, stage.rows - 1);
    const int row_bytes = static_cast<int>(p.row_bytes), j = set == 0 ? first : second;
    const int shifts[3] = {stage.shift<0>(p), stage.shift<1>(p), stage.shift<2>(p)};
    a = memory + stage.of(first, shifts[0], shifts[1], shifts[2]) + first * row_bytes;
    b = memory + stage.of(second, shifts[0], shifts[1], shifts[2]) + second * row_bytes;
    const float* biases = stage.of(j, p.segment[0].bias, p.segment[1].bias, p.segment[2].bias);
    const float* residuals = stage.of(j, p.segment[0].residual, p.segment[1].residual, p.segment[2].residual);
    const size_t rows = static_cast<size_t>(stage.of(j, p.segment[0].rows, p.segment[1].rows, p.segment[2].rows)),
                 element = static_cast<size_t>(n) * rows + static_cast<size_t>(stage.row(j));
    bias = biases == nullptr ? 0.0f : __ldg(biases + stage.row(j));
    const bool mine = part % kLanesEach == 0 && n < p.columns.count && at < apart &&
                      (set == 0 || (set < Sets && !p.glu && first + apart < stage.rows));
    out = mine ? stage.of(j, p.segment[0].out, p.segment[1].out, p.segment[2].out) + element : nullptr;
    residual = mine && residuals != nullptr ? residuals + element : nullptr;
  }
};

/// Products of `Sets` rows, from where they lie, with N columns; `held`: the first record of the first column.
template <class W, int N, int Sets, int Lanes>
__device__ __forceinline__ void dot_rows(const uint8_t* const (&rows)[Sets], int units, const typename W::Stored& x,
                                         const typename W::Record& held, int part, float (&acc)[Sets][N]) {
  auto unit_of = [&](int unit, const typename W::Record& first) {
    const typename W::Weights a(rows[0], unit), b(rows[Sets - 1], unit);
#pragma unroll
    for (int n = 0; n < N; ++n) {
      const typename W::Record r = n == 0 ? first : x.record(n, unit);
      acc[0][n] += a.dot(r);
      if constexpr (Sets == 2) acc[1][n] += b.dot(r);
    }
  };
  if (part < units) unit_of(part, held);
#pragma unroll(W::kUnit < 64 ? 4 : 1)
  for (int unit = part + Lanes; unit < units; unit += Lanes) unit_of(unit, x.record(0, unit));
}

/// Shared memory: ring, columns. `Sets`: rows of a group of lanes at a time; two for a gate.
template <class W, int N, int Sets, int Lanes>
__global__ void __launch_bounds__(kThreads, N == 1 ? 2 : 1) matvec_kernel(const __grid_constant__ MatVecParams p) {
  extern __shared__ __align__(128) uint8_t shared[];
  // Columns share the warps.
  constexpr int kColumnWarps = kWarps / N, kColumnThreads = kColumnWarps * kWarp;
  __shared__ __align__(16) float squares_of[N][kColumnWarps];
  __shared__ uint64_t arrived[kMostStages];
  __shared__ unsigned readers[kMostStages];
  const int warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp;
  const Ring ring{arrived, readers};
  const Requests requests(p, ring, shared);
  allow_next(p.overlaps_next);
  if (!Ring::kByOneWarp || warp == 0) {
    ring.begin(p.stages);
#pragma unroll 1
    for (int s = 0; s < p.stages; ++s) requests.ask(s * p.stage_rows, s);
  }
  using Work = Job<N, Sets, Lanes>;
  const typename W::Stored x(shared + p.stages * p.stage_bytes, p.columns.k);  // all N are read
  const int column = warp / kColumnWarps, rank = threadIdx.x % kColumnThreads;
  const int rows = requests.rows, units = p.columns.k / W::kUnit, part = lane % Lanes, own = lane / Lanes;
  Stage stage = requests.stage(0);
  int apart = stage.apart<Sets>(p), at = warp * Work::kGroups;
  Work job(p, stage, shared, at + own, lane);
  Gains<kHeld<N>> gains(p.columns, rank, kColumnThreads);
  wait_previous();
  float add = job.residual == nullptr ? 0.0f : __ldcg(job.residual);
  if (column < p.columns.count) {
    const float total = warp_sum(load_column(p.columns, column, rank, kColumnThreads, gains, x));
    if (lane == 0) squares_of[column][warp % kColumnWarps] = total;
  }
  __syncthreads();
  if (Ring::kByOneWarp && warp >= p.workers) return;

  const typename W::Record held = x.record(0, min(part, units - 1));
  float scale = 1.0f;
  if (p.columns.norm)
    scale = rsqrtf(sum_of<kColumnWarps>(squares_of[part / Work::kLanesEach % N]) * p.each + p.columns.eps);
  int slot = 0, round = 0, first = 0;
#pragma unroll 1
  while (true) {
    ring.wait(slot, round, p.stages);
#pragma unroll 1
    while (at < apart) {
      float acc[Sets][N] = {}, sums[Work::kSums] = {};
      if constexpr (Sets == 2) {
        dot_rows<W, N, Sets, Lanes>({job.a, job.b}, units, x, held, part, acc);
      } else {
        dot_rows<W, N, Sets, Lanes>({job.a}, units, x, held, part, acc);
      }
#pragma unroll
      for (int i = 0; i < Sets * N; ++i) sums[i] = acc[i / N][i % N];
      float y = sums_of<Work::kSums, Lanes>(sums, lane) * scale + job.bias;
      if (Sets == 2 && p.glu) {
        const float up = __shfl_sync(0xffffffffu, y, (part / Work::kLanesEach + N) * Work::kLanesEach % Lanes, Lanes);
        y = gate_of(y, p.glu) * up;
      }
      if (job.out != nullptr) *job.out = y + add;
      at += p.workers * Work::kGroups;
      if (at >= apart) break;
      job = Work(p, stage, shared + slot * p.stage_bytes, at + own, lane);
      add = job.residual == nullptr ? 0.0f : __ldcg(job.residual);
    }
    first += p.stage_rows;
    if (first >= rows) break;
    const int next = first + (p.stages - 1) * p.stage_rows;
    if ((!Ring::kByOneWarp || next < rows) && ring.release(slot, p.workers)) requests.ask(next, slot);
    if (++slot == p.stages) {
      slot = 0;
      ++round;
    }
    stage = requests.stage(first);
    apart = stage.apart<Sets>(p);
    at = warp * Work::kGroups;
    job = Work(p, stage, shared + slot * p.stage_bytes, at + own, lane);
    add = job.residual == nullptr ? 0.0f : __ldcg(job.residual);
  }
}

constexpr size_t kStageRest = kStageExtra + 16;  // of a stage, beside its rows

/// What a block has of shared memory: less than half (on 9.0), so that the next kernel's block fits beside it, where
/// two stages fit into that.
constexpr size_t kShareBytes = 110 * 1024;
#ifdef ETGGML_TUNE  // benchmarks/cuda/kernels/decode_chain.cu tries others
inline size_t kWholeBytes = 60 * 1024, kStageBytes = 36 * 1024;
#else
constexpr size_t kWholeBytes = 60 * 1024;  // of a block's rows: up to it they are one stage
constexpr size_t kStageBytes = 36 * 1024;  // about
#endif

/// Sets stages and their rows; shared memory of a block, 0 when it does not fit.
template <class W>
size_t plan_matvec(MatVecParams& p, int n, size_t limit) {
  const size_t columns = W::Stored::bytes(p.columns.k, n), row = static_cast<size_t>(p.row_bytes);
  const size_t unit = p.glu ? 2 : 1;  // rows that stay together
  const size_t rest = columns + kMostStages * kStageRest, two_stages = rest + unit * 2 * row,
               budget = two_stages <= kShareBytes ? std::min(kShareBytes, limit) : limit;
  if (two_stages > budget) return 0;
  const size_t ring = budget - rest;
  size_t rows = static_cast<size_t>(p.per_block), stages = 1;
  if (rows * row > kWholeBytes || rows * row > ring) {
    rows = std::max(std::min(kStageBytes / row, ring / (2 * row)), unit);
    // As many for each group of lanes.
    constexpr size_t kEven = kWarps * 2;
    rows = rows >= kEven ? rows / kEven * kEven : rows / unit * unit;
    const size_t all = (static_cast<size_t>(p.per_block) + rows - 1) / rows;
    stages = std::min({ring / (rows * row), all, static_cast<size_t>(kMostStages)});
  }
  p.workers = kWarps;
  p.each = 1.0f / static_cast<float>(p.columns.k);
  p.stage_rows = static_cast<int>(rows);
  p.stages = static_cast<int>(stages);
  p.stage_bytes = static_cast<int>((rows * row + kStageExtra + 15) / 16 * 16);
  return stages * static_cast<size_t>(p.stage_bytes) + columns;
}

using MatVecKernel = void (*)(MatVecParams);

template <class W, int N>
MatVecKernel matvec_kernel_for(const MatVecParams& p) {
  // Few columns: rows one by one, to have all warps at work on few rows; many: two of them share what is read of x.
  constexpr int kFew = N <= 2 ? 1 : 2;
  if constexpr (W::kHalves) {
    if (p.columns.k <= kWarp / 2 * W::kUnit)
      return p.glu ? matvec_kernel<W, N, 2, kWarp / 2> : matvec_kernel<W, N, kFew, kWarp / 2>;
  }
  return p.glu ? matvec_kernel<W, N, 2, kWarp> : matvec_kernel<W, N, kFew, kWarp>;
}

template <class W>
MatVecKernel matvec_kernel_of(const MatVecParams& p, int n) {
  switch (n) {
    case 1:
      return matvec_kernel_for<W, 1>(p);
    case 2:
      return matvec_kernel_for<W, 2>(p);
    case 4:
      return matvec_kernel_for<W, 4>(p);
    case 5:
      return matvec_kernel_for<W, 5>(p);
    default:
      return matvec_kernel_for<W, 8>(p);
  }
}

/// What a type's file gives.
struct MatVecType {
  size_t (*plan)(MatVecParams& p, int n, size_t limit);
  MatVecKernel (*kernel)(const MatVecParams& p, int n);
  int alignment;  // the least that rows have: the largest power of two that divides row bytes and addresses, up to 16
  int unit;       // row elements are a multiple of it
};

template <class W>
constexpr MatVecType matvec_type() {
  return {plan_matvec<W>, matvec_kernel_of<W>, W::kAlignment, W::kUnit};
}

extern const MatVecType kMatVecQ8_0, kMatVecQ4_0, kMatVecQ4_K, kMatVecQ5_K, kMatVecQ6_K, kMatVecF16, kMatVecBF16,
    kMatVecF32;

}  // namespace etggml::cuda
