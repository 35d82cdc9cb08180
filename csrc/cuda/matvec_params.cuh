// The parameters of a matrix-vector kernel.
#pragma once

#include <type_traits>

#include "activations.cuh"
#include "fusion/descriptors.h"

namespace etggml::cuda {

struct MatVecParams {
  /// Pointers are biased: indexing with the global row number lands in this segment.
  struct Segment {
    const uint8_t* weight;
    const float* bias;
    const float* residual;
    float* out;
    int rows;
  };
  Segment segment[MatVecDesc::kMaxSegments];
  Columns columns;
  int64_t row_bytes;
  int rows;         // of all segments; with a gate, pairs of rows
  int first[2];     // row from which on it is the second and the third segment's
  int split;        // split-K: warps that share a row, a power of two
  int slice_units;  // units of a warp's slice of a row
  int workers;      // warps, passed at run time: as a constant they raise register pressure
  int stages;       // pipeline stages of a group of lanes
  int piece;        // units of a lane in a stage
  float k_inverse;  // 1 / columns.k
  bool aligned;     // all pieces begin at multiples of 16 bytes
  bool overlaps_next;
  bool biases, residuals;
  int glu;
};

/// A kernel without extras has the short form. A GPU reads the parameters of each launch anew, which takes time.
struct MatVecExtraParams : MatVecParams {
  ColumnExtras extras;
  const int32_t* ids;  // of the experts
  int64_t expert_bytes;
  int expert_rows, used;
};
template <Extra What>
using MatVecParamsFor = std::conditional_t<What == Extra::None, MatVecParams, MatVecExtraParams>;

__device__ inline const ColumnExtras* extras_of(const MatVecParams&) { return nullptr; }
__device__ inline const ColumnExtras* extras_of(const MatVecExtraParams& p) { return &p.extras; }

constexpr int64_t kMostElements = 65536;  // of a row
constexpr int kMaxUsedExperts = 16;

/// Kernels are made for these numbers of columns.
inline int padded_columns(int count) { return count <= 2 ? count : count <= 4 ? 4 : count == 5 ? 5 : 8; }

/// The rows of a block, all blocks having as many or one less.
struct Rows {
  const MatVecParams& p;
  int begin, count;
  __device__ explicit Rows(const MatVecParams& p_) : p(p_) {
    const int blocks = static_cast<int>(gridDim.x), block = static_cast<int>(blockIdx.x), least = p.rows / blocks,
              more = p.rows - least * blocks;
    begin = block * least + min(block, more);
    count = least + (block < more ? 1 : 0);
  }
  /// Fields of parameters are chosen by comparison, not by index: those that are indexed cost a slow load each.
  template <class T>
  __device__ T of(int row, T a, T b, T c) const {
    return row >= p.first[1] ? c : row >= p.first[0] ? b : a;
  }
  /// Row `row` of all; with a gate, of the gate (`set` 0) or of up (1).
  __device__ const uint8_t* weight(int row, int set) const {
    const uint8_t* base = p.glu ? (set == 0 ? p.segment[0].weight : p.segment[1].weight)
                                : of(row, p.segment[0].weight, p.segment[1].weight, p.segment[2].weight);
    return base + row * p.row_bytes;
  }
  /// Where a number of column n is, beside the other columns of its segment.
  __device__ size_t element(int row, int n) const {
    return static_cast<size_t>(n) *
               static_cast<size_t>(of(row, p.segment[0].rows, p.segment[1].rows, p.segment[2].rows)) +
           static_cast<size_t>(row);
  }
  __device__ float* out(int row) const { return of(row, p.segment[0].out, p.segment[1].out, p.segment[2].out); }
  __device__ float bias(int row, int set) const {
    const float* from = p.glu ? (set == 0 ? p.segment[0].bias : p.segment[1].bias)
                              : of(row, p.segment[0].bias, p.segment[1].bias, p.segment[2].bias);
    return from == nullptr ? 0.0f : __ldg(from + row);
  }
  __device__ float residual(int row, int n) const {
    const float* from = of(row, p.segment[0].residual, p.segment[1].residual, p.segment[2].residual);
    return from == nullptr ? 0.0f : __ldcg(from + element(row, n));
  }
};

}  // namespace etggml::cuda
