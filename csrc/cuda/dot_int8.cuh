// Dot products of quantised rows with 8-bit columns. A unit is 64 elements, one lane's; units of neighbouring lanes are
// neighbours. Layouts of the blocks: ggml-common.h.
#pragma once

#include <cuda_fp16.h>

#include <cstdint>

#include "activations.cuh"

namespace etggml::cuda {

__device__ __forceinline__ float low_half(uint32_t bits) {
  return __half2float(__ushort_as_half(static_cast<unsigned short>(bits)));
}
__device__ __forceinline__ float high_half(uint32_t bits) { return low_half(bits >> 16); }

/// Sum of `Count` products of four 8-bit numbers, as a float. Sums begin at the bits of 1.5 * 2^23: its low bits are
/// the integers of a float. A conversion would take as long as four products.
template <int Count>
__device__ __forceinline__ float dots(const uint32_t* w, const uint32_t* x) {
  constexpr int kBits = 0x4b400000;
  int even = kBits, odd = 0;
#pragma unroll
  for (int i = 0; i < Count; i += 2) {
    even = __dp4a(static_cast<int>(w[i]), static_cast<int>(x[i]), even);
    if (i + 1 < Count) odd = __dp4a(static_cast<int>(w[i + 1]), static_cast<int>(x[i + 1]), odd);
  }
  return __int_as_float(even + odd) - 12582912.0f;
}

/// The low and the high four bits of each byte.
template <int Count>
__device__ __forceinline__ void nibbles(const uint32_t (&w)[Count], uint32_t* low, uint32_t* high) {
#pragma unroll
  for (int i = 0; i < Count; ++i) {
    low[i] = w[i] & 0x0f0f0f0f;
    high[i] = (w[i] >> 4) & 0x0f0f0f0f;
  }
}

/// The kernel's view of a type: the bytes of a unit, a lane's part of it, and its product with a record.
template <class Layout, int BlockElements, int BlockBytes, int Alignment>
struct Int8Type {
  using Stored = Int8Columns<Layout>;
  using Record = typename Stored::Record;
  static constexpr int kUnit = 64;              // elements
  static constexpr int kAlignment = Alignment;  // of rows, bytes
  static constexpr int kUnroll = 1;             // units of a lane in one step
  static constexpr bool kLongPieces = false;    // may a piece have several steps? That takes registers
  static constexpr bool kHolds = false;         // are there registers for a column's first record beside weights?
  static constexpr int kSliceUnits = 4;         // a split-K slice has whole blocks and whole pieces of 16 bytes
  static __host__ __device__ constexpr int bytes(int units) { return units * kUnit / BlockElements * BlockBytes; }
  static __device__ const uint8_t* block(const uint8_t* row, int unit) {
    return row + unit * kUnit / BlockElements * BlockBytes;
  }
};

struct Q8_0 : Int8Type<AsQ8_0, 32, 34, 4> {
  static constexpr bool kHolds = true;
  struct Weights {
    uint32_t w[17];
    __device__ Weights(const uint8_t* row, int unit) {
      const uint32_t* from = reinterpret_cast<const uint32_t*>(block(row, unit));
#pragma unroll
      for (int i = 0; i < 17; ++i) w[i] = from[i];
    }
    __device__ float dot(const Record& x) const {
      return low_half(w[0]) * x.d(0) * dots<9>(w, x.word) + high_half(w[8]) * x.d(1) * dots<8>(w + 9, x.word + 9);
    }
  };
};

struct Q4_0 : Int8Type<AsQ4_0, 32, 18, 4> {
  static constexpr bool kLongPieces = true;
  struct Weights {
    uint32_t w[9];
    __device__ Weights(const uint8_t* row, int unit) {
      const uint32_t* from = reinterpret_cast<const uint32_t*>(block(row, unit));
#pragma unroll
      for (int i = 0; i < 9; ++i) w[i] = from[i];
    }
    __device__ float dot(const Record& x) const {
      uint32_t low[9], high[9];
      nibbles(w, low, high);
      const float a = dots<5>(low, x.word) + dots<5>(high, x.word + 9);
      const float b = dots<4>(low + 5, x.word + 5) + dots<4>(high + 5, x.word + 14);
      return low_half(w[0]) * (x.d(0) * a - 8.0f * x.sum(0)) + high_half(w[4]) * (x.d(1) * b - 8.0f * x.sum(1));
    }
  };
};

/// d, qh[4], qs[16]: bit i of qh is the fifth of element i. Elements 0 to 15 of a block are low nibbles of qs.
struct Q5_0 : Int8Type<InOrder, 32, 22, 4> {
  static constexpr bool kLongPieces = true;
  struct Weights {
    uint32_t w[16];
    float d[2];
    __device__ Weights(const uint8_t* row, int unit) {
      const uint32_t* from = reinterpret_cast<const uint32_t*>(block(row, unit));
      uint32_t all[11];
#pragma unroll
      for (int i = 0; i < 11; ++i) all[i] = from[i];
      // The second block begins in the middle of a word, so its quants are whole words and those of the first are not.
      uint32_t q[4];
#pragma unroll
      for (int i = 0; i < 4; ++i) q[i] = __funnelshift_r(all[1 + i], all[2 + i], 16);
      d[0] = low_half(all[0]);
      d[1] = high_half(all[5]);
      unpack(q, __funnelshift_r(all[0], all[1], 16), w);
      unpack(all + 7, all[6], w + 8);
    }
    static __device__ void unpack(const uint32_t* q, uint32_t bits, uint32_t* to) {
      // The product has bit i of a nibble at 8 i, and its other copies elsewhere.
      auto fifth = [&](int word) { return ((bits >> (4 * word) & 15) * 0x00204081u & 0x01010101) << 4; };
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        to[i] = (q[i] & 0x0f0f0f0f) | fifth(i);
        to[i + 4] = (q[i] >> 4 & 0x0f0f0f0f) | fifth(i + 4);
      }
    }
    __device__ float dot(const Record& x) const {
      return d[0] * (x.d(0) * dots<8>(w, x.word) - 16.0f * x.sum(0)) +
             d[1] * (x.d(1) * dots<8>(w + 8, x.word + 8) - 16.0f * x.sum(1));
    }
  };
};

/// Byte `index` of a word as a float: under the exponent of 2^23 it is the mantissa's last bits. A conversion takes as
/// long as four other instructions.
__device__ __forceinline__ float byte_of(uint32_t word, int index) {
  return __uint_as_float(__byte_perm(word, 0x4b000000u, 0x7440u + static_cast<uint32_t>(index))) - 8388608.0f;
}

/// Scales and minima of the two sub-blocks of a unit. A K block begins with d, dmin and 12 bytes of scales and minima
/// of 6 bits. Those of sub-blocks 0 to 3 are stored plainly. Those of 4 to 7 are in nibbles, with their upper bits
/// above the first ones.
struct KScales {
  float d[2], m[2];
  __device__ KScales(const uint8_t* block, int quarter) {
    const uint4 head = *reinterpret_cast<const uint4*>(block);
    const int shift = quarter % 2 * 16;
    const uint32_t a = head.y >> shift, b = head.z >> shift, c = head.w >> shift;
    const bool low = quarter < 2;
    const uint32_t scales = low ? a & 0x3f3f : (c & 0x0f0f) | ((a >> 2) & 0x3030);
    const uint32_t minima = low ? b & 0x3f3f : ((c >> 4) & 0x0f0f) | ((b >> 2) & 0x3030);
    const float all = low_half(head.x), least = high_half(head.x);
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      d[i] = all * byte_of(scales, i);
      m[i] = least * byte_of(minima, i);
    }
  }
  template <class Record>
  __device__ float dot(const Record& x, float a, float b) const {
    return d[0] * x.d(0) * a - m[0] * x.sum(0) + d[1] * x.d(1) * b - m[1] * x.sum(1);
  }
};

__device__ __forceinline__ void load32(const uint8_t* from, uint32_t (&w)[8]) {
  const uint4 a = reinterpret_cast<const uint4*>(from)[0], b = reinterpret_cast<const uint4*>(from)[1];
  w[0] = a.x, w[1] = a.y, w[2] = a.z, w[3] = a.w, w[4] = b.x, w[5] = b.y, w[6] = b.z, w[7] = b.w;
}

/// d, dmin, scales[12], qs[128]; sub-blocks 2g and 2g + 1 share 32 bytes of qs: a unit.
struct Q4_K : Int8Type<InOrder, 256, 144, 16> {
  static constexpr bool kLongPieces = true;
  struct Weights {
    KScales scales;
    uint32_t w[8];
    __device__ Weights(const uint8_t* row, int unit) : scales(block(row, unit), unit % 4) {
      load32(block(row, unit) + 16 + unit % 4 * 32, w);
    }
    __device__ float dot(const Record& x) const {
      uint32_t low[8], high[8];
      nibbles(w, low, high);
      return scales.dot(x, dots<8>(low, x.word), dots<8>(high, x.word + 8));
    }
  };
  static __device__ const uint8_t* block(const uint8_t* row, int unit) { return row + unit / 4 * 144; }
};

/// As Q4_K, with qh[32] before qs: bit j of byte i belongs to element i of sub-block j.
struct Q5_K : Int8Type<InOrder, 256, 176, 16> {
  static constexpr bool kLongPieces = true;
  struct Weights {
    KScales scales;
    uint32_t w[16];
    __device__ Weights(const uint8_t* row, int unit) : scales(block(row, unit), unit % 4) {
      uint32_t q[8], h[8];
      load32(block(row, unit) + 48 + unit % 4 * 32, q);
      load32(block(row, unit) + 16, h);
#pragma unroll
      for (int i = 0; i < 8; ++i) {
        const uint32_t bits = h[i] >> (unit % 4 * 2);
        w[i] = (q[i] & 0x0f0f0f0f) | (bits & 0x01010101) << 4;
        w[i + 8] = ((q[i] >> 4) & 0x0f0f0f0f) | (bits & 0x02020202) << 3;
      }
    }
    __device__ float dot(const Record& x) const {
      return scales.dot(x, dots<8>(w, x.word), dots<8>(w + 8, x.word + 8));
    }
  };
  static __device__ const uint8_t* block(const uint8_t* row, int unit) { return row + unit / 4 * 176; }
};

/// Words of bytes that are only 2-byte aligned: aligned ones, shifted.
template <int Count>
__device__ __forceinline__ void load_unaligned(const uint8_t* p, uint32_t (&out)[Count]) {
  const uint32_t shift = (reinterpret_cast<uintptr_t>(p) & 2) * 8;
  const uint32_t* words = reinterpret_cast<const uint32_t*>(reinterpret_cast<uintptr_t>(p) & ~uintptr_t{3});
  uint32_t low = words[0];
#pragma unroll
  for (int i = 0; i < Count; ++i) {
    const uint32_t high = words[i + 1];  // behind the last one still the same block
    out[i] = __funnelshift_r(low, high, shift);
    low = high;
  }
}

/// ql[128], qh[64], scales[16] (int8, of 16 elements each), d. Unit u has half h = u / 2. Its low bits are nibble u % 2
/// of ql at 64 h. Its high bits are pairs 2 (u % 2) and 2 (u % 2) + 1 of qh at 32 h.
struct Q6_K : Int8Type<InOrder, 256, 210, 2> {
  struct Weights {
    uint32_t w[16];
    float d[4];  // of 16 elements each
    __device__ Weights(const uint8_t* row, int unit) {
      const uint8_t* from = row + unit / 4 * 210;
      const int h = unit / 2 % 2, nibble = unit % 2;
      uint32_t low[16], high[8];
      load_unaligned(from + 64 * h, low);
      load_unaligned(from + 128 + 32 * h, high);
#pragma unroll
      for (int i = 0; i < 16; ++i) {
        const uint32_t q =
            ((low[i] >> (nibble * 4)) & 0x0f0f0f0f) | (((high[i % 8] >> (nibble * 4 + i / 8 * 2)) & 0x03030303) << 4);
        // q - 32 in each byte: q + 96 carries nowhere, and 128 more is the upper bit.
        w[i] = (q + 0x60606060) ^ 0x80808080;
      }
      uint32_t scales[1];
      load_unaligned(from + 192 + 8 * h + 4 * nibble, scales);
      const float all = __half2float(*reinterpret_cast<const __half*>(from + 208));
#pragma unroll
      for (int i = 0; i < 4; ++i) d[i] = all * (byte_of(scales[0] ^ 0x80808080, i) - 128.0f);
    }
    __device__ float dot(const Record& x) const {
      float sum[2];
#pragma unroll
      for (int i = 0; i < 2; ++i)
        sum[i] =
            d[2 * i] * dots<4>(w + 8 * i, x.word + 8 * i) + d[2 * i + 1] * dots<4>(w + 8 * i + 4, x.word + 8 * i + 4);
      return x.d(0) * sum[0] + x.d(1) * sum[1];
    }
  };
};

}  // namespace etggml::cuda
