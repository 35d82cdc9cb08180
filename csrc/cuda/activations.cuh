// The columns that a matrix is multiplied with, in shared memory: normalised if asked for, and quantised to 8 bits in
// blocks of 32 (x = d * q, |q| <= 127, as ggml's Q8_1, with d and the block's sum in F32) or left as F32.
#pragma once

#include <cstdint>

#include "launch.cuh"

namespace etggml::cuda {

constexpr int kWarps = 8;
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
  __device__ void store(int column, int index4, float4 v) {
    float largest = fmaxf(fmaxf(fabsf(v.x), fabsf(v.y)), fmaxf(fabsf(v.z), fabsf(v.w)));
    float total = v.x + v.y + v.z + v.w;
#pragma unroll
    for (int offset = 4; offset > 0; offset /= 2) {
      largest = fmaxf(largest, __shfl_xor_sync(0xffffffffu, largest, offset));
      total += __shfl_xor_sync(0xffffffffu, total, offset);
    }
    const float scale = largest / 127.0f;
    const float inverse = largest > 0.0f ? 127.0f / largest : 0.0f;
    if (index4 * 4 >= k) return;
    const char4 quants = make_char4(__float2int_rn(v.x * inverse), __float2int_rn(v.y * inverse),
                                    __float2int_rn(v.z * inverse), __float2int_rn(v.w * inverse));
    reinterpret_cast<char4*>(q + static_cast<size_t>(column) * k)[index4] = quants;
    if (index4 % 8 == 0) {
      d[column * (k / 32) + index4 / 8] = scale;
      sum[column * (k / 32) + index4 / 8] = total;
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
  __device__ void store(int column, int index4, float4 v) {
    if (index4 * 4 < k) reinterpret_cast<float4*>(x + static_cast<size_t>(column) * k)[index4] = v;
  }
};

__device__ __forceinline__ float4 load4(const float* x, int index4, int k) {
  // Past the L1 cache: with dependent launches it may hold what an earlier kernel left at this address.
  return index4 * 4 < k ? __ldcg(reinterpret_cast<const float4*>(x) + index4) : make_float4(0, 0, 0, 0);
}

__device__ __forceinline__ float squares(float4 v) { return v.x * v.x + v.y * v.y + v.z * v.z + v.w * v.w; }

/// One column by `Threads` threads, the first of which is `rank` 0. `sum` adds a value over them.
template <int Threads, class Stored, class Sum>
__device__ void load_column(const Columns& c, int column, int rank, Stored& stored, Sum sum) {
  constexpr int kHeld = 4;
  const float* x = c.x + static_cast<size_t>(column) * c.k;
  const int count4 = (c.k + 3) / 4;
  float4 held[kHeld];
#pragma unroll
  for (int i = 0; i < kHeld; ++i) held[i] = load4(x, rank + i * Threads, c.k);
  float scale = 1.0f;
  if (c.norm) {
    float total = 0.0f;
#pragma unroll
    for (int i = 0; i < kHeld; ++i) total += squares(held[i]);
    for (int i = rank + kHeld * Threads; i < count4; i += Threads) total += squares(load4(x, i, c.k));
    scale = rsqrtf(sum(total) / static_cast<float>(c.k) + c.eps);
  }
  auto finish = [&](int index4, float4 v) {
    if (c.norm) {
      float4 gain = make_float4(1, 1, 1, 1);
      if (c.gain != nullptr && index4 * 4 < c.k) gain = __ldg(reinterpret_cast<const float4*>(c.gain) + index4);
      v = make_float4(v.x * scale * gain.x, v.y * scale * gain.y, v.z * scale * gain.z, v.w * scale * gain.w);
    }
    stored.store(column, index4, v);
  };
  // Whole warps go round together: store() exchanges values between lanes.
#pragma unroll
  for (int i = 0; i < kHeld; ++i) {
    if (rank / kWarp * kWarp + i * Threads < count4) finish(rank + i * Threads, held[i]);
  }
  for (int i = kHeld * Threads; i + rank / kWarp * kWarp < count4; i += Threads) {
    finish(i + rank, load4(x, i + rank, c.k));
  }
}

/// All columns, by the whole block; ends with a barrier.
template <class Stored>
__device__ void load_columns(const Columns& c, Stored& stored) {
  __shared__ float partial[kWarps];
  const int warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp;
  if (c.count == 1) {
    load_column<kThreads>(c, 0, threadIdx.x, stored, [&](float v) {
      v = warp_sum(v);
      if (lane == 0) partial[warp] = v;
      __syncthreads();
      float total = 0.0f;
#pragma unroll
      for (int i = 0; i < kWarps; ++i) total += partial[i];
      return total;
    });
  } else {
    for (int column = warp; column < c.count; column += kWarps)
      load_column<kWarp>(c, column, lane, stored, [](float v) { return warp_sum(v); });
  }
  __syncthreads();
}

}  // namespace etggml::cuda
