// Sixteen floats in one register. Included only by files compiled for AVX-512 (cmake/Library.cmake); everything is in
// an unnamed namespace so that no other file can be handed this code by the linker.
#pragma once

#include <immintrin.h>

#include <cstdint>

namespace {

struct Simd {
  static constexpr int kWidth = 16;
  static constexpr int kRegisters = 32;
  using Reg = __m512;
  using Mask = __mmask16;
  /// The first n lanes, n in [0, 16].
  static Mask first(int n) { return static_cast<Mask>((1u << n) - 1); }
  /// Lanes [from, to), both in [0, 16].
  static Mask lanes(int from, int to) { return static_cast<Mask>(first(to) & ~first(from)); }
  /// The lanes whose bits are set.
  static Mask bits(uint32_t lanes) { return static_cast<Mask>(lanes); }
  static Reg zero() { return _mm512_setzero_ps(); }
  static Reg set(float x) { return _mm512_set1_ps(x); }
  static Reg load(const float* p) { return _mm512_loadu_ps(p); }
  static Reg load_half(const uint16_t* p) {
    return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
  }
  /// 0 in the other lanes, whose memory is not touched.
  static Reg load(const float* p, Mask m) { return _mm512_maskz_loadu_ps(m, p); }
  /// `other` in the other lanes, whose memory is not touched.
  static Reg load(const float* p, Mask m, Reg other) { return _mm512_mask_loadu_ps(other, m, p); }
  static void store(float* p, Reg x) { _mm512_storeu_ps(p, x); }
  static void store(float* p, Reg x, Mask m) { _mm512_mask_storeu_ps(p, m, x); }
  /// Into the second-level cache.
  static void prefetch(const float* p) { _mm_prefetch(reinterpret_cast<const char*>(p), _MM_HINT_T1); }
  static void prefetch_to_write(float* p) { __builtin_prefetch(p, 1); }
  static Reg add(Reg a, Reg b) { return _mm512_add_ps(a, b); }
  static Reg sub(Reg a, Reg b) { return _mm512_sub_ps(a, b); }
  static Reg mul(Reg a, Reg b) { return _mm512_mul_ps(a, b); }
  static Reg div(Reg a, Reg b) { return _mm512_div_ps(a, b); }
  /// b where one of the two is NaN; min too.
  static Reg max(Reg a, Reg b) { return _mm512_max_ps(a, b); }
  static Reg min(Reg a, Reg b) { return _mm512_min_ps(a, b); }
  static Reg abs(Reg x) { return _mm512_abs_ps(x); }
  /// a >= b ? x : y, lane by lane.
  static Reg where_ge(Reg a, Reg b, Reg x, Reg y) {
    return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(a, b, _CMP_GE_OQ), y, x);
  }
  /// Every second lane of the 32 of a and b, from the first.
  static Reg even(Reg a, Reg b) {
    const __m512i lanes = _mm512_set_epi32(30, 28, 26, 24, 22, 20, 18, 16, 14, 12, 10, 8, 6, 4, 2, 0);
    return _mm512_permutex2var_ps(a, lanes, b);
  }
  static Reg fma(Reg a, Reg b, Reg c) { return _mm512_fmadd_ps(a, b, c); }
  static Reg round(Reg x) { return _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
  /// x * 2^n for whole n.
  static Reg scale_by_power(Reg x, Reg n) { return _mm512_scalef_ps(x, n); }
  /// rows[i][j] <-> rows[j][i].
  static void transpose(Reg* rows) {
    Reg a[16], b[16];
    for (int i = 0; i < 16; i += 2) {
      a[i] = _mm512_unpacklo_ps(rows[i], rows[i + 1]);
      a[i + 1] = _mm512_unpackhi_ps(rows[i], rows[i + 1]);
    }
    for (int i = 0; i < 16; i += 4) {
      for (int j = 0; j < 2; ++j) {
        const __m512d x = _mm512_castps_pd(a[i + j]), y = _mm512_castps_pd(a[i + j + 2]);
        b[i + 2 * j] = _mm512_castpd_ps(_mm512_unpacklo_pd(x, y));
        b[i + 2 * j + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(x, y));
      }
    }
    // b[4 g + c] holds, in its 128-bit lane l, column 4 l + c of rows 4 g to 4 g + 3.
    for (int c = 0; c < 4; ++c) {
      const Reg low01 = _mm512_shuffle_f32x4(b[c], b[4 + c], 0x88), high01 = _mm512_shuffle_f32x4(b[c], b[4 + c], 0xdd);
      const Reg low23 = _mm512_shuffle_f32x4(b[8 + c], b[12 + c], 0x88);
      const Reg high23 = _mm512_shuffle_f32x4(b[8 + c], b[12 + c], 0xdd);
      rows[c] = _mm512_shuffle_f32x4(low01, low23, 0x88);
      rows[8 + c] = _mm512_shuffle_f32x4(low01, low23, 0xdd);
      rows[4 + c] = _mm512_shuffle_f32x4(high01, high23, 0x88);
      rows[12 + c] = _mm512_shuffle_f32x4(high01, high23, 0xdd);
    }
  }
  static float sum(Reg x) { return _mm512_reduce_add_ps(x); }
  static float largest(Reg x) { return _mm512_reduce_max_ps(x); }
};

}  // namespace
