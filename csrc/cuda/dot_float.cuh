// Dot products of F32, F16 and BF16 rows with F32 columns, summed in F32. Neighbouring lanes have neighbouring 16
// bytes.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "dot_int8.cuh"

namespace etggml::cuda {

template <class T>
struct FloatType {
  using Stored = FloatColumns;
  static constexpr bool kAlignedRows = true;
  static constexpr int kBlock = 1;
  static constexpr bool kSums = false;
  static constexpr int kPieceBytes = kPiece * sizeof(T);
  static constexpr int kEach = 16 / sizeof(T);  // elements of a lane at a time
  __host__ __device__ static constexpr int64_t bytes(int64_t elements) {
    return elements * static_cast<int64_t>(sizeof(T));
  }
};

__device__ __forceinline__ void fma4(float4 a, float4 b, float& acc) {
  acc = fmaf(a.x, b.x, acc);
  acc = fmaf(a.y, b.y, acc);
  acc = fmaf(a.z, b.z, acc);
  acc = fmaf(a.w, b.w, acc);
}

__device__ __forceinline__ float4 widen(uint2 v, __half) {
  const float2 a = __half22float2(*reinterpret_cast<half2*>(&v.x)), b = __half22float2(*reinterpret_cast<half2*>(&v.y));
  return make_float4(a.x, a.y, b.x, b.y);
}
__device__ __forceinline__ float4 widen(uint2 v, __nv_bfloat16) {
  return make_float4(__uint_as_float(v.x << 16), __uint_as_float(v.x & 0xffff0000u), __uint_as_float(v.y << 16),
                     __uint_as_float(v.y & 0xffff0000u));
}

template <class T>
struct Narrow : FloatType<T> {
  /// Elements beyond the row must not be read: `left` of them are there.
  template <int N>
  static __device__ void dot(const uint8_t* piece, const FloatColumns& x, int first, int lane, int left,
                             float (&acc)[N]) {
#pragma unroll
    for (int i = 0; i < kPiece / 256; ++i) {
      const int element = i * 256 + lane * 8;
      if (element >= left) return;
      const uint4 w = *reinterpret_cast<const uint4*>(piece + element * 2);
      const float4 a = widen(make_uint2(w.x, w.y), T()), b = widen(make_uint2(w.z, w.w), T());
#pragma unroll
      for (int n = 0; n < N; ++n) {
        const float4* v = x.values(n, first + element);
        fma4(a, v[0], acc[n]);
        fma4(b, v[1], acc[n]);
      }
    }
  }
};

struct F16 : Narrow<__half> {};
struct BF16 : Narrow<__nv_bfloat16> {};

struct F32 : FloatType<float> {
  template <int N>
  static __device__ void dot(const uint8_t* piece, const FloatColumns& x, int first, int lane, int left,
                             float (&acc)[N]) {
#pragma unroll
    for (int i = 0; i < kPiece / 128; ++i) {
      const int element = i * 128 + lane * 4;
      if (element >= left) return;
      const float4 w = *reinterpret_cast<const float4*>(piece + element * 4);
#pragma unroll
      for (int n = 0; n < N; ++n) fma4(w, *x.values(n, first + element), acc[n]);
    }
  }
};

}  // namespace etggml::cuda
