// The activations (columns) of a matrix product, in shared memory. They are normalised if requested. They are then
// quantised to 8 bits in blocks of 32, or left as F32. As in ggml's Q8_1, x = d * q and |q| <= 127, with d and d *
// sum(q) in F32. Their layout is that of the weights' type, so a lane reads whole pieces of 16 bytes, and lanes never
// meet in a bank.
#pragma once

#include <cstdint>

#include "launch.cuh"

namespace etggml::cuda {

/// The source of a kernel's columns.
struct Columns {
  const float* x;     // column c at x + c * k
  const float* gain;  // or null
  int k;
  int count;
  bool norm;
  float eps;
};

/// More about them, for kernels that do more.
struct ColumnExtras {
  /// Post-norm: the columns are addend + post_gain * x / sqrt(mean(x^2) + post_eps), and go to sum.
  const float* addend;
  const float* post_gain;  // or null
  float* sum;
  float post_eps;
  /// Experts: elements [i * expert_k, (i + 1) * expert_k) are multiplied by scale i, if there are any.
  const float* expert_scales;
  int expert_k;
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
  static __host__ __device__ size_t bytes(int k, int count) {
    return static_cast<size_t>(count) * static_cast<size_t>(k / 64) * kBytes;
  }
  __device__ Record record(int column, int unit) const {
    const uint4* from = reinterpret_cast<const uint4*>(memory + (column * units + unit) * kBytes);
    Record r;
#pragma unroll
    for (int i = 0; i < Layout::kPieces; ++i) r.piece[i] = from[i];
    return r;
  }
  /// Clears the parts that no lane writes. `threads`: of the block.
  __device__ void clear(int count, int threads) const {
    for (int i = threadIdx.x; i < count * units; i += threads) Layout::clear(memory + i * kBytes);
  }
  /// Four elements a lane of piece `piece` (of 128) of N columns; `any`: this lane has some. Eight neighbouring lanes
  /// hold a block. Step by step for all columns: steps wait for each other, and the compiler leaves shuffles in order.
  template <int N>
  __device__ __forceinline__ void store(int piece, bool any, const float4 (&v)[N], int lane) const {
    float largest[N];
    int total[N];
#pragma unroll
    for (int n = 0; n < N; ++n)
      largest[n] = fmaxf(fmaxf(fabsf(v[n].x), fabsf(v[n].y)), fmaxf(fabsf(v[n].z), fabsf(v[n].w)));
#pragma unroll
    for (int offset = 4; offset > 0; offset /= 2) {
#pragma unroll
      for (int n = 0; n < N; ++n) largest[n] = fmaxf(largest[n], __shfl_xor_sync(0xffffffffu, largest[n], offset));
    }
    const int block = lane / 8 % 2, element = lane % 8 * 4;
    uint8_t* const records = memory + (piece * 2 + lane / 16) * kBytes;
#pragma unroll
    for (int n = 0; n < N; ++n) {
      const float inverse = largest[n] > 0.0f ? __fdividef(127.0f, largest[n]) : 0.0f;
      // Added to this, a number's nearest integer is the low bits of the sum.
      constexpr float kRound = 12582912.0f;
      auto rounded = [&](float y) { return __float_as_uint(fmaf(y, inverse, kRound)); };
      const uint32_t low = __byte_perm(rounded(v[n].x), rounded(v[n].y), 0x0040),
                     high = __byte_perm(rounded(v[n].z), rounded(v[n].w), 0x0040);
      uint8_t* const record = records + n * units * kBytes;
      if (any) Layout::store(record + Layout::offset(block, element), low, high);
      largest[n] *= 1.0f / 127.0f;
      if (any && element == 0) numbers(record)[block] = largest[n];
      if constexpr (Layout::kSums) total[n] = __dp4a(static_cast<int>(__byte_perm(low, high, 0x5410)), 0x01010101, 0);
    }
    if constexpr (Layout::kSums) {
      // Of the stored numbers, not of the given ones. Weights are positive before their minimum is subtracted, so the
      // rounding errors would count with it.
#pragma unroll
      for (int offset = 4; offset > 0; offset /= 2) {
#pragma unroll
        for (int n = 0; n < N; ++n) total[n] += __shfl_xor_sync(0xffffffffu, total[n], offset);
      }
#pragma unroll
      for (int n = 0; n < N; ++n)
        if (any && element == 0)
          numbers(records + n * units * kBytes)[2 + block] = largest[n] * static_cast<float>(total[n]);
    }
  }
  static __device__ float* numbers(uint8_t* record) { return reinterpret_cast<float*>(record) + Layout::kNumbers; }
};

/// In order.
struct InOrder {
  static constexpr int kPieces = 5, kNumbers = 16;
  static constexpr bool kSums = true;
  static __device__ int offset(int block, int element) { return block * 32 + element; }
  static __device__ void clear(uint8_t*) {}
  static __device__ void store(uint8_t* to, uint32_t low, uint32_t high) {
    *reinterpret_cast<uint32_t*>(to) = __byte_perm(low, high, 0x5410);
  }
};

/// The layout of two blocks of Q8_0, with zeros at the positions of the scale bytes. Whole words of weights are
/// multiplied, and the scale bytes in them count for nothing.
struct AsQ8_0 {
  static constexpr int kPieces = 5, kNumbers = 17;
  static constexpr bool kSums = false;
  static __device__ int offset(int block, int element) { return block * 34 + 2 + element; }
  static __device__ void clear(uint8_t* record) {
    *reinterpret_cast<uint16_t*>(record) = *reinterpret_cast<uint16_t*>(record + 34) = 0;
  }
  static __device__ void store(uint8_t* to, uint32_t low, uint32_t high) {
    reinterpret_cast<uint16_t*>(to)[0] = static_cast<uint16_t>(low);
    reinterpret_cast<uint16_t*>(to)[1] = static_cast<uint16_t>(high);
  }
};

/// The same for Q4_0: 9 words for the low nibbles (elements 0 to 15 of a block), 9 for the high ones.
struct AsQ4_0 {
  static constexpr int kPieces = 7, kNumbers = 18;
  static constexpr bool kSums = true;
  static __device__ int offset(int block, int element) { return element / 16 * 36 + block * 18 + 2 + element % 16; }
  static __device__ void clear(uint8_t* record) {
#pragma unroll
    for (int i = 0; i < 4; ++i) *reinterpret_cast<uint16_t*>(record + i * 18) = 0;
  }
  static __device__ void store(uint8_t* to, uint32_t low, uint32_t high) { AsQ8_0::store(to, low, high); }
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
  static __host__ __device__ constexpr int padded(int k) {
    return (k + kWarp * Each - 1) / (kWarp * Each) * (kWarp * Each);
  }
  static __host__ __device__ size_t bytes(int k, int count) {
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
  __device__ void clear(int, int) const {}
  template <int N>
  __device__ __forceinline__ void store(int piece, bool any, const float4 (&v)[N], int lane) const {
    const int index4 = piece * kWarp + lane, unit = index4 / kGroups;
    float4* const to = memory + unit / kWarp * (kWarp * kGroups) + index4 % kGroups * kWarp + unit % kWarp;
#pragma unroll
    for (int n = 0; n < N; ++n)
      if (any) to[column(n)] = v[n];
  }
};

__device__ __forceinline__ float squares(float4 v) { return v.x * v.x + v.y * v.y + v.z * v.z + v.w * v.w; }

__device__ __forceinline__ float4 times(float4 a, float4 b) {
  return make_float4(a.x * b.x, a.y * b.y, a.z * b.z, a.w * b.w);
}

/// The work of a kernel besides the product.
enum class Extra { None, PostNorm, Experts };

/// Columns are read in pieces of 128 elements, the same piece of all of them by the same warp. All loads are issued at
/// once: a memory round trip takes as long as all the rest. A post-norm needs two pieces of everything, so it holds
/// fewer of them.
template <int N, int Warps, Extra What>
struct Pieces {
  static constexpr bool kPostNorm = What == Extra::PostNorm;
  static constexpr int kElements = kWarp * 4, kHeld = N == 1 && !kPostNorm ? 2 : 1;
  using Held = float4[kHeld][N];
  const Columns& c;
  const ColumnExtras* const extras;  // nullptr without any
  int first, lane, end;
  float4 gain[kHeld];  // of the first ones: weights, so they are read before the kernel waits for the one before it
  __device__ Pieces(const Columns& c_, const ColumnExtras* extras_, int warp, int lane_)
      : c(c_), extras(extras_), first(warp), lane(lane_), end((c_.k + kElements - 1) / kElements) {
    load_gains(c.gain, first, gain);
  }
  __device__ bool any(int piece) const { return piece < end && (piece * kWarp + lane) * 4 < c.k; }
  __device__ void load_gains(const float* gains, int from, float4 (&to)[kHeld]) const {
    if (gains == nullptr) return;
#pragma unroll
    for (int i = 0; i < kHeld; ++i) {
      const int piece = from + i * Warps;
      if (any(piece)) to[i] = __ldg(reinterpret_cast<const float4*>(gains) + piece * kWarp + lane);
    }
  }
  __device__ __forceinline__ void load(const float* columns, int from, Held& to) const {
#pragma unroll
    for (int i = 0; i < kHeld; ++i) {
      const int piece = from + i * Warps;
      const float4* x = reinterpret_cast<const float4*>(columns) + piece * kWarp + lane;
#pragma unroll
      for (int n = 0; n < N; ++n) {
        // Past the L1 cache: with dependent launches it may hold old data of an earlier kernel at this address.
        to[i][n] = any(piece) && n < c.count ? __ldcg(x + n * (c.k / 4)) : make_float4(0, 0, 0, 0);
      }
    }
  }
  /// Stores them, and adds this lane's part of the columns' sums of squares. The norm's own scale is one number for a
  /// column. The product is multiplied by it, so nothing waits for the sum here.
  template <class Stored, int Count>
  __device__ __forceinline__ void store(const Stored& stored, float (&squares_of)[Count]) {
    Held held;
    load(c.x, first, held);
    auto keep = [&](int from) {
#pragma unroll
      for (int i = 0; i < kHeld; ++i) {
        const int piece = from + i * Warps;
        if (piece >= end) break;
        float scale = 1.0f;
        if constexpr (What == Extra::Experts) {
          // A piece may reach into the next expert's columns, four elements do not.
          if (extras->expert_scales != nullptr && any(piece))
            scale = __ldcg(extras->expert_scales + (piece * kWarp + lane) * 4 / extras->expert_k);
        }
#pragma unroll
        for (int n = 0; n < N; ++n) {
          squares_of[n] += squares(held[i][n]);
          if (c.gain != nullptr) held[i][n] = times(held[i][n], gain[i]);
          if constexpr (What == Extra::Experts) held[i][n] = times(held[i][n], make_float4(scale, scale, scale, scale));
        }
        stored.store(piece, any(piece), held[i], lane);
      }
    };
    constexpr int kTrip = kHeld * Warps;
    int from = first;
    if constexpr (N >= 4) {  // columns enough to have the next ones come meanwhile
#pragma unroll 1
      for (; from + kTrip < end; from += kTrip) {
        Held coming;
        load(c.x, from + kTrip, coming);
        keep(from);
        load_gains(c.gain, from + kTrip, gain);
        static_assert(kHeld == 1);
#pragma unroll
        for (int n = 0; n < N; ++n) held[0][n] = coming[0][n];
      }
    } else {
#pragma unroll 1
      for (; from + kTrip < end; from += kTrip) {
        keep(from);
        load(c.x, from + kTrip, held);
        load_gains(c.gain, from + kTrip, gain);
      }
    }
    if (from < end) keep(from);
  }
  /// The same behind a post-norm. `block_sum`: of a number of each thread, for all of them.
  template <class Stored, class Sum>
  __device__ __forceinline__ void store_post_normed(const Stored& stored, float& squares_of, const Sum& block_sum) {
    static_assert(N == 1);
    Held held, addend;
    float4 post_gain[kHeld];
    load(c.x, first, held);
    load(extras->addend, first, addend);
    load_gains(extras->post_gain, first, post_gain);
    float total = squares(held[0][0]);
#pragma unroll 1
    for (int from = first + Warps; from < end; from += Warps) {
      Held more;
      load(c.x, from, more);
      total += squares(more[0][0]);
    }
    if (extras->post_gain != nullptr) held[0][0] = times(held[0][0], post_gain[0]);
    const float scale = rsqrtf(block_sum(total) * (1.0f / static_cast<float>(c.k)) + extras->post_eps);
#pragma unroll 1
    for (int piece = first; piece < end; piece += Warps) {
      if (piece != first) {
        load(c.x, piece, held);
        load(extras->addend, piece, addend);
        load_gains(extras->post_gain, piece, post_gain);
        load_gains(c.gain, piece, gain);
        if (extras->post_gain != nullptr) held[0][0] = times(held[0][0], post_gain[0]);
      }
      float4& x = held[0][0];
      const float4 add = addend[0][0];
      x = make_float4(fmaf(x.x, scale, add.x), fmaf(x.y, scale, add.y), fmaf(x.z, scale, add.z),
                      fmaf(x.w, scale, add.w));
      if (!any(piece)) x = make_float4(0, 0, 0, 0);  // the gain of nothing is any number
      // One of the blocks writes the sum.
      if (any(piece) && piece % static_cast<int>(gridDim.x) == static_cast<int>(blockIdx.x))
        reinterpret_cast<float4*>(extras->sum)[piece * kWarp + lane] = x;
      squares_of += squares(x);
      if (c.gain != nullptr) x = times(x, gain[0]);
      stored.store(piece, any(piece), held[0], lane);
    }
  }
};

}  // namespace etggml::cuda
