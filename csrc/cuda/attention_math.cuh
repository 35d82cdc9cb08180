// The arithmetic of both attention kernels: fp16 in pieces of 16 bytes, and softmax in powers of two, as in the
// hardware.
#pragma once

#include <cuda_fp16.h>

#include <cstdint>

namespace etggml::cuda {

constexpr float kLog2E = 1.4426950408889634f;

__device__ __forceinline__ void unpack(uint4 v, float (&out)[8]) {
  const uint32_t words[4] = {v.x, v.y, v.z, v.w};
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const float2 pair = __half22float2(*reinterpret_cast<const half2*>(&words[i]));
    out[2 * i] = pair.x;
    out[2 * i + 1] = pair.y;
  }
}

/// Eight numbers, aligned to 16 bytes, as fp16.
__device__ __forceinline__ uint4 pack(const float* from) {
  const float4 a = reinterpret_cast<const float4*>(from)[0], b = reinterpret_cast<const float4*>(from)[1];
  alignas(16) const half2 pairs[4] = {__floats2half2_rn(a.x, a.y), __floats2half2_rn(a.z, a.w),
                                      __floats2half2_rn(b.x, b.y), __floats2half2_rn(b.z, b.w)};
  return *reinterpret_cast<const uint4*>(pairs);
}

/// 2^(a - b) for a <= b, 0 when both are -infinity.
__device__ __forceinline__ float relative(float a, float b) { return a == -INFINITY ? 0.0f : exp2f(a - b); }

}  // namespace etggml::cuda
