// Dot products of F32, F16 and BF16 rows with F32 columns, summed in F32. A unit is 16 bytes, one lane's.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "activations.cuh"

namespace etggml::cuda {

template <int Each>
struct FloatType {
  using Stored = FloatColumns<Each>;
  using Record = typename Stored::Record;
  static constexpr int kUnit = Each;
  static constexpr int kAlignment = 16;
  static constexpr int kUnroll = 4;
  static constexpr bool kLongPieces = false;
  static constexpr bool kHolds = true;
  static constexpr int kSliceUnits = kWarp;
  static __host__ __device__ constexpr int bytes(int units) { return units * 16; }
};

__device__ __forceinline__ float dot4(float4 a, float4 b) {
  return fmaf(a.x, b.x, fmaf(a.y, b.y, fmaf(a.z, b.z, a.w * b.w)));
}

__device__ __forceinline__ float4 widen(uint32_t a, uint32_t b, __half) {
  const float2 low = __half22float2(*reinterpret_cast<half2*>(&a)),
               high = __half22float2(*reinterpret_cast<half2*>(&b));
  return make_float4(low.x, low.y, high.x, high.y);
}
__device__ __forceinline__ float4 widen(uint32_t a, uint32_t b, __nv_bfloat16) {
  return make_float4(__uint_as_float(a << 16), __uint_as_float(a & 0xffff0000u), __uint_as_float(b << 16),
                     __uint_as_float(b & 0xffff0000u));
}

template <class T>
struct Narrow : FloatType<8> {
  struct Weights {
    uint4 w;
    __device__ Weights(const uint8_t* row, int unit) : w(reinterpret_cast<const uint4*>(row)[unit]) {}
    __device__ float dot(const Record& x) const {
      return dot4(widen(w.x, w.y, T()), x.group[0]) + dot4(widen(w.z, w.w, T()), x.group[1]);
    }
  };
};

struct F16 : Narrow<__half> {};
struct BF16 : Narrow<__nv_bfloat16> {};

struct F32 : FloatType<4> {
  struct Weights {
    float4 w;
    __device__ Weights(const uint8_t* row, int unit) : w(reinterpret_cast<const float4*>(row)[unit]) {}
    __device__ float dot(const Record& x) const { return dot4(w, x.group[0]); }
  };
};

}  // namespace etggml::cuda
