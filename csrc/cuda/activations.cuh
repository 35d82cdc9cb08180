// The columns that a matrix is multiplied with, in shared memory: normalised if asked for, and quantised to 8 bits in
// blocks of 32 (x = d * q, |q| <= 127, as ggml's Q8_1, with d and the block's sum in F32) or left as F32. They lie as
// the type of the weights wants them, so that a lane reads its part in whole pieces of 16 bytes and lanes never meet in
// a bank.
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

/// Records of 64 elements: their quants where `Layout` puts them, then two scales and two sums. `Layout::kPieces`: of
/// 16 bytes in a record, an odd number (banks).
template <class Layout>
struct Int8Columns {
  struct Record {
    union {
      uint4 piece[Layout::kPieces];
      uint32_t word[Layout::kPieces * 4];
    };
    __device__ float number(int word_index) const { return __uint_as_float(word[word_index]); }
    __device__ float d(int block) const { return number(Layout::kNumbers + block); }
    __device__ float sum(int block) const { return number(Layout::kNumbers + 2 + block); }
  };
  static constexpr int kBytes = Layout::kPieces * 16;
  uint8_t* memory;
  int units;

  __device__ Int8Columns(uint8_t* memory_, int k) : memory(memory_), units(k / 64) {}
  static size_t bytes(int k, int count) { return static_cast<size_t>(count) * static_cast<size_t>(k / 64) * kBytes; }
  __device__ Record record(int column, int unit) const {
    const uint4* from = reinterpret_cast<const uint4*>(memory + (column * units + unit) * kBytes);
    Record r;
#pragma unroll
    for (int i = 0; i < Layout::kPieces; ++i) r.piece[i] = from[i];
    return r;
  }
  /// Four neighbouring elements; eight neighbouring lanes hold a block.
  __device__ void store(int column, int index4, int k, float4 v) const {
    float largest = fmaxf(fmaxf(fabsf(v.x), fabsf(v.y)), fmaxf(fabsf(v.z), fabsf(v.w)));
    float total = v.x + v.y + v.z + v.w;
#pragma unroll
    for (int offset = 4; offset > 0; offset /= 2) {
      largest = fmaxf(largest, __shfl_xor_sync(0xffffffffu, largest, offset));
      if constexpr (Layout::kSums) total += __shfl_xor_sync(0xffffffffu, total, offset);
    }
    const float inverse = largest > 0.0f ? __fdividef(127.0f, largest) : 0.0f;
    if (index4 * 4 >= k) return;
    const char4 quants = make_char4(__float2int_rn(v.x * inverse), __float2int_rn(v.y * inverse),
                                    __float2int_rn(v.z * inverse), __float2int_rn(v.w * inverse));
    uint8_t* record = memory + (column * units + index4 / 16) * kBytes;
    const int block = index4 / 8 % 2, first = index4 % 8 * 4;
    Layout::store(record, block, first, quants);
    if (first == 0) {
      float* numbers = reinterpret_cast<float*>(record) + Layout::kNumbers;
      numbers[block] = largest * (1.0f / 127.0f);
      if constexpr (Layout::kSums) numbers[2 + block] = total;
    }
  }
};

/// In order.
struct InOrder {
  static constexpr int kPieces = 5, kNumbers = 16;
  static constexpr bool kSums = true;
  static __device__ void store(uint8_t* record, int block, int first, char4 quants) {
    *reinterpret_cast<char4*>(record + block * 32 + first) = quants;
  }
};

__device__ __forceinline__ void store_halves(uint8_t* to, char4 quants) {
  const uint32_t bits = *reinterpret_cast<const uint32_t*>(&quants);
  reinterpret_cast<uint16_t*>(to)[0] = static_cast<uint16_t>(bits);
  reinterpret_cast<uint16_t*>(to)[1] = static_cast<uint16_t>(bits >> 16);
}

/// As two blocks of Q8_0 lie in memory, zeros where they have their scales: whole words of weights are multiplied, and
/// what they have of a scale counts for nothing.
struct AsQ8_0 {
  static constexpr int kPieces = 5, kNumbers = 17;
  static constexpr bool kSums = false;
  static __device__ void store(uint8_t* record, int block, int first, char4 quants) {
    store_halves(record + block * 34 + 2 + first, quants);
    if (first == 0) *reinterpret_cast<uint16_t*>(record + block * 34) = 0;
  }
};

/// The same for Q4_0: 9 words for the low nibbles (elements 0 to 15 of a block), 9 for the high ones.
struct AsQ4_0 {
  static constexpr int kPieces = 7, kNumbers = 18;
  static constexpr bool kSums = true;
  static __device__ void store(uint8_t* record, int block, int first, char4 quants) {
    uint8_t* half = record + first / 16 * 36;
    store_halves(half + block * 18 + 2 + first % 16, quants);
    if (first % 16 == 0) *reinterpret_cast<uint16_t*>(half + block * 18) = 0;
  }
};

/// `Each` elements of a lane at a time, F32; groups of four of 32 lanes lie side by side.
template <int Each>
struct FloatColumns {
  static constexpr int kGroups = Each / 4;
  struct Record {
    float4 group[kGroups];
  };
  float4* memory;
  int k;
  __device__ FloatColumns(uint8_t* memory_, int k_) : memory(reinterpret_cast<float4*>(memory_)), k(k_) {}
  static constexpr int padded(int k) { return (k + kWarp * Each - 1) / (kWarp * Each) * (kWarp * Each); }
  static size_t bytes(int k, int count) {
    return static_cast<size_t>(count) * static_cast<size_t>(padded(k)) * sizeof(float);
  }
  __device__ int column(int c) const { return c * ((k + kWarp * Each - 1) / (kWarp * Each) * (kWarp * kGroups)); }
  __device__ Record record(int c, int unit) const {
    const float4* from = memory + column(c) + unit / kWarp * (kWarp * kGroups) + unit % kWarp;
    Record r;
#pragma unroll
    for (int i = 0; i < kGroups; ++i) r.group[i] = from[i * kWarp];
    return r;
  }
  __device__ void store(int c, int index4, int, float4 v) const {
    if (index4 * 4 >= k) return;
    const int unit = index4 / kGroups;
    memory[column(c) + unit / kWarp * (kWarp * kGroups) + index4 % kGroups * kWarp + unit % kWarp] = v;
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

/// Groups of four elements that a thread asks for at once: a trip to memory takes as long as all the rest. With one
/// column there are many threads for it, and few registers.
template <int Columns>
constexpr int kHeld = Columns == 1 ? 2 : 8;

/// The gains of a thread's first elements: weights, so they are read before the kernel waits for the one before it.
template <int Held>
struct Gains {
  float4 held[Held];
  __device__ Gains(const Columns& c, int rank, int threads) {
#pragma unroll
    for (int i = 0; i < Held; ++i) {
      const int index4 = rank + i * threads;
      held[i] = make_float4(1, 1, 1, 1);
      if (c.gain != nullptr && index4 * 4 < c.k) held[i] = __ldg(reinterpret_cast<const float4*>(c.gain) + index4);
    }
  }
};

/// One column by `threads` threads, whole warps; returns this thread's share of the sum of squares. The norm's own
/// scale is one number for the column: whoever has the products multiplies them by it, so nothing waits for the sum
/// here.
template <int Held, class Stored>
__device__ __forceinline__ float load_column(const Columns& c, int column, int rank, int threads, Gains<Held>& gains,
                                             const Stored& stored) {
  const float* x = c.x + static_cast<size_t>(column) * c.k;
  const int count4 = c.k / 4, first = rank / kWarp * kWarp;
  float total = 0.0f;
#pragma unroll 1
  for (int at = 0; first + at < count4; at += Held * threads) {
    float4 held[Held];
#pragma unroll
    for (int i = 0; i < Held; ++i) held[i] = load4(x, rank + at + i * threads, c.k);
    if (at > 0) gains = Gains<Held>(c, rank + at, threads);
#pragma unroll
    for (int i = 0; i < Held; ++i) {
      if (first + at + i * threads >= count4) break;
      total += squares(held[i]);
      stored.store(column, rank + at + i * threads, c.k, times(held[i], gains.held[i]));
    }
  }
  return total;
}

}  // namespace etggml::cuda
