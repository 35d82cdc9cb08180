// The greedy choice where the logits are. Every block finds the best of its share; the last one to end compares them.
// Ties go to the lowest index, as on the host (text/argmax.cpp).
#include "kernels.cuh"

namespace etggml::cuda {
namespace {

constexpr int kBlock = 512;
constexpr int kMaxBlocks = 256;

struct Best {
  float value;
  int index;  // -1: a NaN was seen
};

/// NaN before everything, then the larger value, then the lower index.
__device__ __forceinline__ Best better(Best a, Best b) {
  if (a.index == -1 || b.index == -1) return a.index == -1 ? a : b;
  if (a.value != b.value) return a.value > b.value ? a : b;
  return a.index <= b.index ? a : b;
}

__device__ Best block_best(Best mine) {
  __shared__ Best partial[kBlock / kWarp];
  auto over_warp = [](Best v) {
#pragma unroll
    for (int offset = 16; offset > 0; offset /= 2) {
      const Best other{__shfl_xor_sync(0xffffffffu, v.value, offset), __shfl_xor_sync(0xffffffffu, v.index, offset)};
      v = better(v, other);
    }
    return v;
  };
  mine = over_warp(mine);
  if (threadIdx.x % kWarp == 0) partial[threadIdx.x / kWarp] = mine;
  __syncthreads();
  const int lane = threadIdx.x % kWarp;
  return over_warp(partial[lane < kBlock / kWarp ? lane : 0]);
}

__global__ void argmax_kernel(const float* x, int64_t n, float* values, int* indices, unsigned* counter, int32_t* out) {
  wait_previous();
  Best best{-INFINITY, INT_MAX};
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * kBlock + threadIdx.x; i < n;
       i += static_cast<int64_t>(gridDim.x) * kBlock) {
    const float v = __ldcg(x + i);
    best = better(best, {v, v != v ? -1 : static_cast<int>(i)});
  }
  best = block_best(best);
  __shared__ bool last;
  if (threadIdx.x == 0) {
    values[blockIdx.x] = best.value;
    indices[blockIdx.x] = best.index;
    __threadfence();
    last = atomicAdd(counter, 1) == gridDim.x - 1;
  }
  __syncthreads();
  if (!last) return;
  __threadfence();
  Best all{-INFINITY, INT_MAX};
  for (unsigned b = threadIdx.x; b < gridDim.x; b += kBlock)
    all = better(all, {__ldcg(values + b), __ldcg(indices + b)});
  all = block_best(all);
  if (threadIdx.x > 0) return;
  *counter = 0;
  *out = all.index == -1 ? -1 : all.value == -INFINITY ? -2 : all.value == INFINITY ? -3 : all.index;
}

}  // namespace

bool launch_argmax(int device, cudaStream_t stream, const ArgmaxDesc& c) {
  const int64_t n = c.x->ne[0];
  const int64_t wanted = (n + kBlock - 1) / kBlock;
  const int grid = static_cast<int>(wanted < kMaxBlocks ? wanted : kMaxBlocks);
  auto* scratch = static_cast<float*>(c.scratch->data);
  const float* last = static_cast<const float*>(c.x->data) + (c.x->ne[1] * c.x->ne[2] * c.x->ne[3] - 1) * n;
  return launch(device, stream, dim3(grid), dim3(kBlock), 0, argmax_kernel, last, n, scratch,
                reinterpret_cast<int*>(scratch + kMaxBlocks), reinterpret_cast<unsigned*>(scratch + 2 * kMaxBlocks),
                static_cast<int32_t*>(c.out->data));
}

}  // namespace etggml::cuda
