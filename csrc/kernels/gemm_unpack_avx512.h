// Blocks of ggml's quantised types as unsigned bytes with scales: one struct for each type, with
//   kBlock     elements of a block of the type
//   kBytes     bytes of a block
//   kSteps     groups of four elements that share a scale (8: 32 elements, 4: 16)
//   kMin       w = scale * u + min; without it w = scale * (u - 128)
//   unpack()   elements [32 * part, 32 * part + 32) of a block
// The layouts are those of ggml-common.h. Unnamed namespace: see simd_avx512.h.
#pragma once

#include <immintrin.h>

#include <cstdint>
#include <cstring>

namespace {

struct Unpacked {
  __m256i u;
  float scale[2];
  float min[2];
};

inline float half_at(const char* p) {
  uint16_t bits;
  std::memcpy(&bits, p, sizeof(bits));
  return _cvtsh_ss(bits);
}

inline __m256i load32(const char* p) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)); }
inline __m256i bytes(int x) { return _mm256_set1_epi8(static_cast<char>(x)); }

/// 16 bytes of two 4-bit numbers each -> the low numbers, then the high ones.
inline __m256i nibbles(const char* p) {
  const __m128i x = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
  return _mm256_and_si256(_mm256_set_m128i(_mm_srli_epi16(x, 4), x), bytes(15));
}

/// The low or the high 4 bits of 32 bytes.
inline __m256i nibble(const char* p, int high) {
  return _mm256_and_si256(_mm256_srl_epi16(load32(p), _mm_cvtsi32_si128(4 * high)), bytes(15));
}

/// Two bits of each of 32 bytes, from bit `shift`.
inline __m256i two_bits(const char* p, int shift) {
  return _mm256_and_si256(_mm256_srl_epi16(load32(p), _mm_cvtsi32_si128(shift)), bytes(3));
}

/// 32 bits -> 32 bytes that are `value` where the bit is set.
inline __m256i spread(const char* p, int value) {
  uint32_t bits;
  std::memcpy(&bits, p, sizeof(bits));
  return _mm256_maskz_set1_epi8(bits, static_cast<char>(value));
}

struct Q8_0 {
  static constexpr int kBlock = 32, kBytes = 34, kSteps = 8;
  static constexpr bool kMin = false;
  static void unpack(const char* b, int, Unpacked& o) {
    o.u = _mm256_xor_si256(load32(b + 2), bytes(128));
    o.scale[0] = half_at(b);
  }
};

struct Q4_0 {
  static constexpr int kBlock = 32, kBytes = 18, kSteps = 8;
  static constexpr bool kMin = false;
  static void unpack(const char* b, int, Unpacked& o) {
    o.u = _mm256_add_epi8(nibbles(b + 2), bytes(128 - 8));
    o.scale[0] = half_at(b);
  }
};

struct Q4_1 {
  static constexpr int kBlock = 32, kBytes = 20, kSteps = 8;
  static constexpr bool kMin = true;
  static void unpack(const char* b, int, Unpacked& o) {
    o.u = nibbles(b + 4);
    o.scale[0] = half_at(b);
    o.min[0] = half_at(b + 2);
  }
};

struct Q5_0 {
  static constexpr int kBlock = 32, kBytes = 22, kSteps = 8;
  static constexpr bool kMin = false;
  static void unpack(const char* b, int, Unpacked& o) {
    o.u = _mm256_add_epi8(_mm256_or_si256(nibbles(b + 6), spread(b + 2, 16)), bytes(128 - 16));
    o.scale[0] = half_at(b);
  }
};

struct Q5_1 {
  static constexpr int kBlock = 32, kBytes = 24, kSteps = 8;
  static constexpr bool kMin = true;
  static void unpack(const char* b, int, Unpacked& o) {
    o.u = _mm256_or_si256(nibbles(b + 8), spread(b + 4, 16));
    o.scale[0] = half_at(b);
    o.min[0] = half_at(b + 2);
  }
};

/// The sixteen levels of IQ4_NL and IQ4_XS, plus 128.
inline __m256i iq4_levels(__m256i index) {
  const __m128i levels = _mm_setr_epi8(1, 24, 45, 63, 79, 93, 106, 118, -127, -115, -103, -90, -75, -59, -39, -15);
  return _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(levels), index);
}

struct IQ4_NL {
  static constexpr int kBlock = 32, kBytes = 18, kSteps = 8;
  static constexpr bool kMin = false;
  static void unpack(const char* b, int, Unpacked& o) {
    o.u = iq4_levels(nibbles(b + 2));
    o.scale[0] = half_at(b);
  }
};

struct IQ4_XS {
  static constexpr int kBlock = 256, kBytes = 136, kSteps = 8;
  static constexpr bool kMin = false;
  static void unpack(const char* b, int part, Unpacked& o) {
    uint16_t high;
    std::memcpy(&high, b + 2, sizeof(high));
    const int low = (static_cast<uint8_t>(b[4 + part / 2]) >> (4 * (part % 2))) & 15;
    o.u = iq4_levels(nibbles(b + 8 + 16 * part));
    o.scale[0] = half_at(b) * static_cast<float>((low | ((high >> (2 * part)) & 3) << 4) - 32);
  }
};

/// The 6-bit scale and minimum of part j of Q4_K and Q5_K. The first four of each are whole in the first eight bytes.
/// The top bits of these bytes complete the nibbles of the other four.
inline void k_scales(const char* b, int j, Unpacked& o) {
  const auto* q = reinterpret_cast<const uint8_t*>(b) + 4;
  int scale, min;
  if (j < 4) {
    scale = q[j] & 63;
    min = q[j + 4] & 63;
  } else {
    scale = (q[j + 4] & 15) | (q[j - 4] >> 6) << 4;
    min = q[j + 4] >> 4 | (q[j] >> 6) << 4;
  }
  o.scale[0] = half_at(b) * static_cast<float>(scale);
  o.min[0] = -half_at(b + 2) * static_cast<float>(min);
}

struct Q4_K {
  static constexpr int kBlock = 256, kBytes = 144, kSteps = 8;
  static constexpr bool kMin = true;
  static void unpack(const char* b, int part, Unpacked& o) {
    o.u = nibble(b + 16 + part / 2 * 32, part % 2);
    k_scales(b, part, o);
  }
};

struct Q5_K {
  static constexpr int kBlock = 256, kBytes = 176, kSteps = 8;
  static constexpr bool kMin = true;
  static void unpack(const char* b, int part, Unpacked& o) {
    const __m256i bit = _mm256_and_si256(_mm256_srl_epi16(load32(b + 16), _mm_cvtsi32_si128(part)), bytes(1));
    o.u = _mm256_or_si256(nibble(b + 48 + part / 2 * 32, part % 2), _mm256_slli_epi16(bit, 4));
    k_scales(b, part, o);
  }
};

struct Q6_K {
  static constexpr int kBlock = 256, kBytes = 210, kSteps = 4;
  static constexpr bool kMin = false;
  static void unpack(const char* b, int part, Unpacked& o) {
    const int group = part / 4, quarter = part % 4;
    const __m256i low = nibble(b + 64 * group + 32 * (quarter % 2), quarter / 2);
    const __m256i high = two_bits(b + 128 + 32 * group, 2 * quarter);
    o.u = _mm256_add_epi8(_mm256_or_si256(low, _mm256_slli_epi16(high, 4)), bytes(128 - 32));
    for (int i = 0; i < 2; ++i) {
      o.scale[i] = half_at(b + 208) * static_cast<float>(static_cast<int8_t>(b[192 + 2 * part + i]));
    }
  }
};

struct Q3_K {
  static constexpr int kBlock = 256, kBytes = 110, kSteps = 4;
  static constexpr bool kMin = false;
  static void unpack(const char* b, int part, Unpacked& o) {
    const __m256i low = two_bits(b + 32 + 32 * (part / 4), 2 * (part % 4));
    const __m256i bit = _mm256_and_si256(_mm256_srl_epi16(load32(b), _mm_cvtsi32_si128(part)), bytes(1));
    o.u = _mm256_add_epi8(_mm256_or_si256(low, _mm256_slli_epi16(bit, 2)), bytes(128 - 4));
    const auto* s = reinterpret_cast<const uint8_t*>(b) + 96;  // 16 scales: low 4 bits in 8 bytes, then high 2 in 4
    for (int i = 0; i < 2; ++i) {
      const int j = 2 * part + i, low4 = (s[j % 8] >> (4 * (j / 8))) & 15, high2 = (s[8 + j % 4] >> (2 * (j / 4))) & 3;
      o.scale[i] = half_at(b + 108) * static_cast<float>((low4 | high2 << 4) - 32);
    }
  }
};

struct Q2_K {
  static constexpr int kBlock = 256, kBytes = 84, kSteps = 4;
  static constexpr bool kMin = true;
  static void unpack(const char* b, int part, Unpacked& o) {
    o.u = two_bits(b + 16 + 32 * (part / 4), 2 * (part % 4));
    for (int i = 0; i < 2; ++i) {
      const int s = static_cast<uint8_t>(b[2 * part + i]);
      o.scale[i] = half_at(b + 80) * static_cast<float>(s & 15);
      o.min[i] = -half_at(b + 82) * static_cast<float>(s >> 4);
    }
  }
};

}  // namespace
