// Dot products of quantised rows with 8-bit columns. A row is taken in pieces of 1024 elements; of a piece, lane l has
// elements 32 l .. 32 l + 31. Layouts of the blocks: ggml-common.h.
#pragma once

#include <cuda_fp16.h>

#include <cstdint>

#include "activations.cuh"

namespace etggml::cuda {

constexpr int kPiece = 1024;  // elements

__device__ __forceinline__ float half_at(const uint8_t* p) { return __half2float(*reinterpret_cast<const __half*>(p)); }

/// Word w of the bytes at p, which is only 2-byte aligned: two aligned words, shifted.
struct Unaligned {
  const uint32_t* words;
  uint32_t shift;
  __device__ explicit Unaligned(const uint8_t* p)
      : words(reinterpret_cast<const uint32_t*>(reinterpret_cast<uintptr_t>(p) & ~uintptr_t{3})),
        shift((reinterpret_cast<uintptr_t>(p) & 2) * 8) {}
  template <int Count>
  __device__ void load(uint32_t (&out)[Count]) const {
    uint32_t low = words[0];
#pragma unroll
    for (int i = 0; i < Count; ++i) {
      // The word after the last one may lie beyond the piece; it is needed only when shifted.
      const uint32_t high = (i + 1 < Count || shift != 0) ? words[i + 1] : 0;
      out[i] = __funnelshift_r(low, high, shift);
      low = high;
    }
  }
};

/// Sum over 32 elements: quants of a lane in eight words, in order.
__device__ __forceinline__ int dot32(const uint32_t (&w)[8], const int4* x) {
  const int4 a = x[0], b = x[1];
  int even = __dp4a(static_cast<int>(w[0]), a.x, 0), odd = __dp4a(static_cast<int>(w[1]), a.y, 0);
  even = __dp4a(static_cast<int>(w[2]), a.z, even);
  odd = __dp4a(static_cast<int>(w[3]), a.w, odd);
  even = __dp4a(static_cast<int>(w[4]), b.x, even);
  odd = __dp4a(static_cast<int>(w[5]), b.y, odd);
  even = __dp4a(static_cast<int>(w[6]), b.z, even);
  odd = __dp4a(static_cast<int>(w[7]), b.w, odd);
  return even + odd;
}

/// Shared by all: what a kernel knows of a type.
template <int BlockElements, int BlockBytes, bool Sums>
struct Int8Type {
  using Stored = Int8Columns;
  static constexpr bool kAlignedRows = BlockBytes % 16 == 0;
  static constexpr int kBlock = BlockElements;
  static constexpr bool kSums = Sums;  // do products need the sums of the columns' blocks?
  static constexpr int kPieceBytes = kPiece / BlockElements * BlockBytes;
  /// Bytes of `elements`, which are whole blocks.
  __host__ __device__ static constexpr int64_t bytes(int64_t elements) { return elements / BlockElements * BlockBytes; }
};

struct Q8_0 : Int8Type<32, 34, false> {
  template <int N>
  static __device__ void dot(const uint8_t* piece, const Int8Columns& x, int first, int lane, float (&acc)[N]) {
    const uint8_t* block = piece + lane * 34;
    uint32_t w[8];
    Unaligned(block + 2).load(w);
    const float d = half_at(block);
    const int element = first + lane * 32;
#pragma unroll
    for (int n = 0; n < N; ++n)
      acc[n] += d * x.scale(n, element / 32) * static_cast<float>(dot32(w, x.quants(n, element)));
  }
};

struct Q4_0 : Int8Type<32, 18, true> {
  template <int N>
  static __device__ void dot(const uint8_t* piece, const Int8Columns& x, int first, int lane, float (&acc)[N]) {
    const uint8_t* block = piece + lane * 18;
    uint32_t packed[4], w[8];
    Unaligned(block + 2).load(packed);
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      w[i] = packed[i] & 0x0f0f0f0f;
      w[i + 4] = (packed[i] >> 4) & 0x0f0f0f0f;
    }
    const float d = half_at(block);
    const int element = first + lane * 32;
#pragma unroll
    for (int n = 0; n < N; ++n) {
      const float q = x.scale(n, element / 32) * static_cast<float>(dot32(w, x.quants(n, element)));
      acc[n] += d * (q - 8.0f * x.block_sum(n, element / 32));
    }
  }
};

/// Scale and minimum of sub-block j (of 8) of a K block with 12 bytes of packed 6-bit numbers.
__device__ __forceinline__ void scale_min(const uint8_t* packed, int j, int* scale, int* minimum) {
  if (j < 4) {
    *scale = packed[j] & 63;
    *minimum = packed[j + 4] & 63;
  } else {
    *scale = (packed[j + 4] & 15) | ((packed[j - 4] >> 6) << 4);
    *minimum = (packed[j + 4] >> 4) | ((packed[j] >> 6) << 4);
  }
}

/// Q4_K and Q5_K: d, dmin, scales[12], (Q5_K: qh[32],) qs[128]; sub-blocks 2g and 2g + 1 share 32 bytes of qs.
template <bool High, int N>
__device__ __forceinline__ void dot_k45(const uint8_t* block, const Int8Columns& x, int element, int sub,
                                        float (&acc)[N]) {
  const half2 dm = *reinterpret_cast<const half2*>(block);
  int scale, minimum;
  scale_min(block + 4, sub, &scale, &minimum);
  const uint4* packed = reinterpret_cast<const uint4*>(block + (High ? 48 : 16) + (sub / 2) * 32);
  const uint4 p0 = packed[0], p1 = packed[1];
  uint32_t w[8] = {p0.x, p0.y, p0.z, p0.w, p1.x, p1.y, p1.z, p1.w};
  const int shift = (sub & 1) * 4;
#pragma unroll
  for (int i = 0; i < 8; ++i) w[i] = (w[i] >> shift) & 0x0f0f0f0f;
  if constexpr (High) {
    const uint4* high = reinterpret_cast<const uint4*>(block + 16);
    const uint4 h0 = high[0], h1 = high[1];
    const uint32_t h[8] = {h0.x, h0.y, h0.z, h0.w, h1.x, h1.y, h1.z, h1.w};
#pragma unroll
    for (int i = 0; i < 8; ++i) w[i] |= ((h[i] >> sub) & 0x01010101) << 4;
  }
  const float d = __low2float(dm) * static_cast<float>(scale), m = __high2float(dm) * static_cast<float>(minimum);
#pragma unroll
  for (int n = 0; n < N; ++n) {
    const float q = x.scale(n, element / 32) * static_cast<float>(dot32(w, x.quants(n, element)));
    acc[n] += d * q - m * x.block_sum(n, element / 32);
  }
}

struct Q4_K : Int8Type<256, 144, true> {
  template <int N>
  static __device__ void dot(const uint8_t* piece, const Int8Columns& x, int first, int lane, float (&acc)[N]) {
    dot_k45<false>(piece + lane / 8 * 144, x, first + lane * 32, lane % 8, acc);
  }
};

struct Q5_K : Int8Type<256, 176, true> {
  template <int N>
  static __device__ void dot(const uint8_t* piece, const Int8Columns& x, int first, int lane, float (&acc)[N]) {
    dot_k45<true>(piece + lane / 8 * 176, x, first + lane * 32, lane % 8, acc);
  }
};

/// ql[128], qh[64], scales[16] (int8, of 16 elements each), d. Quarter k of half h: low bits in ql at 64 h + 32 (k %
/// 2), nibble k / 2; high bits in qh at 32 h, pair k.
struct Q6_K : Int8Type<256, 210, false> {
  template <int N>
  static __device__ void dot(const uint8_t* piece, const Int8Columns& x, int first, int lane, float (&acc)[N]) {
    const uint8_t* block = piece + lane / 8 * 210;
    const int h = lane % 8 / 4, k = lane % 4;
    uint32_t low[8], high[8], w[8];
    Unaligned(block + 64 * h + 32 * (k & 1)).load(low);
    Unaligned(block + 128 + 32 * h).load(high);
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      const uint32_t q = ((low[i] >> (k / 2 * 4)) & 0x0f0f0f0f) | (((high[i] >> (2 * k)) & 0x03030303) << 4);
      w[i] = __vsubss4(q, 0x20202020);
    }
    const int8_t* scales = reinterpret_cast<const int8_t*>(block + 192) + 8 * h + 2 * k;
    const float d = half_at(block + 208);
    const int element = first + lane * 32;
#pragma unroll
    for (int n = 0; n < N; ++n) {
      const int4 *q = x.quants(n, element), a = q[0], b = q[1];
      int s0 = __dp4a(static_cast<int>(w[0]), a.x, 0), s1 = __dp4a(static_cast<int>(w[4]), b.x, 0);
      s0 = __dp4a(static_cast<int>(w[1]), a.y, s0);
      s1 = __dp4a(static_cast<int>(w[5]), b.y, s1);
      s0 = __dp4a(static_cast<int>(w[2]), a.z, s0);
      s1 = __dp4a(static_cast<int>(w[6]), b.z, s1);
      s0 = __dp4a(static_cast<int>(w[3]), a.w, s0);
      s1 = __dp4a(static_cast<int>(w[7]), b.w, s1);
      acc[n] += d * x.scale(n, element / 32) * static_cast<float>(s0 * scales[0] + s1 * scales[1]);
    }
  }
};

}  // namespace etggml::cuda
