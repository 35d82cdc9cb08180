// Split-K: several warps share a row. Each multiplies a slice of its elements, and the last one to end adds up.
#pragma once

#include <cstddef>

#include "launch.cuh"

namespace etggml::cuda {

constexpr int kMaxSplitRows = 64;  // of a block, groups of lanes of a warp counted as one

struct SplitKSums {
  float* sums;         // shared: [row][slice][each]
  unsigned* arrivals;  // shared: [kMaxSplitRows]
  int split, each;

  static size_t bytes(int rows, int split, int each) {
    return sizeof(float) * static_cast<size_t>(rows * split * each);
  }

  __device__ void begin(int threads) const {
    for (int i = threadIdx.x; i < kMaxSplitRows; i += threads) arrivals[i] = 0;
  }
  __device__ float* of(int row, int slice) const { return sums + (row * split + slice) * each; }
  /// A warp has stored its sums of a row: is it the last one?
  __device__ bool last(int row) const {
    __syncwarp();
    unsigned before = 0;
    if (threadIdx.x % kWarp == 0) {
      __threadfence_block();
      before = atomicAdd(arrivals + row, 1);
      __threadfence_block();
    }
    return __shfl_sync(0xffffffffu, before, 0) + 1 == static_cast<unsigned>(split);
  }
  __device__ float whole(int row, int index) const {
    float sum = 0.0f;
#pragma unroll 1
    for (int i = 0; i < split; ++i) sum += of(row, i)[index];
    return sum;
  }
};

}  // namespace etggml::cuda
