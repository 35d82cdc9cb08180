// The columns that a matrix is multiplied with, in shared memory: normalised if asked for, and quantised to 8 bits in
// blocks of 32 (x = d * q, |q| <= 127, as ggml's Q8_1, with d and the block's sum in F32) or left as F32.
#pragma once

#include <cstdint>

#include "launch.cuh"

namespace etggml::cuda {

constexpr int kWarps = 16;
constexpr int kThreads = kWarps * kWarp;

/// What a kernel reads its columns from.
struct Columns {
  const float* x;     // column c at x + c * k
  const float* gain;  // or null
  int k;
  int count;
  bool norm;
  float eps;
};

/// Column c: k bytes of q, then k / 32 scales, then k / 32 sums.
struct Int8Columns {
  int8_t* q;
  float* d;
  float* sum;
  int k;
  __device__ Int8Columns(uint8_t* memory, int k_, int count)
      : q(reinterpret_cast<int8_t*>(memory)),
        d(reinterpret_cast<float*>(memory + static_cast<size_t>(count) * k_)),
        sum(d + count * (k_ / 32)),
        k(k_) {}
  static size_t bytes(int k, int count) { return static_cast<size_t>(count) * (k + k / 32 * 8); }
  __device__ const int4* quants(int column, int element) const {
    return reinterpret_cast<const int4*>(q + static_cast<size_t>(column) * k + element);
  }
  __device__ float scale(int column, int block) const { return d[column * (k / 32) + block]; }
  __device__ float block_sum(int column, int block) const { return sum[column * (k / 32) + block]; }

  /// Four neighbouring elements; eight neighbouring lanes hold a block.
  template <bool Sums>
  __device__ void store(int column, int index4, float4 v) {
    float largest = fmaxf(fmaxf(fabsf(v.x), fabsf(v.y)), fmaxf(fabsf(v.z), fabsf(v.w)));
    float total = v.x + v.y + v.z + v.w;
#pragma unroll
    for (int offset = 4; offset > 0; offset /= 2) {
      largest = fmaxf(largest, __shfl_xor_sync(0xffffffffu, largest, offset));
      if constexpr (Sums) total += __shfl_xor_sync(0xffffffffu, total, offset);
    }
    const float inverse = largest > 0.0f ? __fdividef(127.0f, largest) : 0.0f;
    if (index4 * 4 >= k) return;
    const char4 quants = make_char4(__float2int_rn(v.x * inverse), __float2int_rn(v.y * inverse),
                                    __float2int_rn(v.z * inverse), __float2int_rn(v.w * inverse));
    reinterpret_cast<char4*>(q + static_cast<size_t>(column) * k)[index4] = quants;
    if (index4 % 8 == 0) {
      d[column * (k / 32) + index4 / 8] = largest * (1.0f / 127.0f);
      if constexpr (Sums) sum[column * (k / 32) + index4 / 8] = total;
    }
  }
};

struct FloatColumns {
  float* x;
  int k;
  __device__ FloatColumns(uint8_t* memory, int k_, int) : x(reinterpret_cast<float*>(memory)), k(k_) {}
  static size_t bytes(int k, int count) { return static_cast<size_t>(count) * k * sizeof(float); }
  __device__ const float4* values(int column, int element) const {
    return reinterpret_cast<const float4*>(x + static_cast<size_t>(column) * k + element);
  }
  template <bool Sums>
  __device__ void store(int column, int index4, float4 v) {
    if (index4 * 4 < k) reinterpret_cast<float4*>(x + static_cast<size_t>(column) * k)[index4] = v;
  }
};

__device__ __forceinline__ float4 load4(const float* x, int index4, int k) {
  // Past the L1 cache: with dependent launches it may hold what an earlier kernel left at this address.
  return index4 * 4 < k ? __ldcg(reinterpret_cast<const float4*>(x) + index4) : make_float4(0, 0, 0, 0);
}

__device__ __forceinline__ float squares(float4 v) { return v.x * v.x + v.y * v.y + v.z * v.z + v.w * v.w; }

__device__ __forceinline__ float4 times(float4 a, float4 b) {
  return make_float4(a.x * b.x, a.y * b.y, a.z * b.z, a.w * b.w);
}

constexpr int kHeld = 4;  // groups of four elements that a thread asks for at once

/// The gains of a thread's first elements: weights, so they are read before the kernel waits for the one before it.
struct Gains {
  float4 held[kHeld];
  __device__ Gains(const Columns& c, int rank, int threads) {
#pragma unroll
    for (int i = 0; i < kHeld; ++i) {
      const int index4 = rank + i * threads;
      held[i] = make_float4(1, 1, 1, 1);
      if (c.gain != nullptr && index4 * 4 < c.k) held[i] = __ldg(reinterpret_cast<const float4*>(c.gain) + index4);
    }
  }
};

/// One column by `threads` threads, whole warps; returns this thread's share of the sum of squares. The norm's own
/// scale is one number for the column: whoever has the products multiplies them by it, so nothing waits for the sum
/// here.
template <bool Sums, class Stored>
__device__ __forceinline__ float load_column(const Columns& c, int column, int rank, int threads, const Gains& gains,
                                             Stored& stored) {
  const float* x = c.x + static_cast<size_t>(column) * c.k;
  const int count4 = c.k / 4, first = rank / kWarp * kWarp;
  float4 held[kHeld];
#pragma unroll
  for (int i = 0; i < kHeld; ++i) held[i] = load4(x, rank + i * threads, c.k);
  float total = 0.0f;
#pragma unroll
  for (int i = 0; i < kHeld; ++i) {
    if (first + i * threads >= count4) break;
    total += squares(held[i]);
    stored.template store<Sums>(column, rank + i * threads, times(held[i], gains.held[i]));
  }
#pragma unroll 1
  for (int i = kHeld * threads; first + i < count4; i += threads) {
    float4 v = load4(x, rank + i, c.k);
    total += squares(v);
    if (c.gain != nullptr && (rank + i) * 4 < c.k)
      v = times(v, __ldg(reinterpret_cast<const float4*>(c.gain) + rank + i));
    stored.template store<Sums>(column, rank + i, v);
  }
  return total;
}

}  // namespace etggml::cuda
