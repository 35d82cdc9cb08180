// Sums of several numbers across lanes, and of numbers in shared memory.
#pragma once

#include "launch.cuh"

namespace etggml::cuda {

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

}  // namespace etggml::cuda
