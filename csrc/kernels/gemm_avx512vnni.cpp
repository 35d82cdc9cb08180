#include "kernels/gemm_panel.h"

#ifdef ETGGML_BUILD_AVX512VNNI

#include "kernels/gemm_unpack_avx512.h"

namespace {

using etggml::kernels::ActivationBlock;
using etggml::kernels::kGemmBlock;
using etggml::kernels::kPanelRows;
using etggml::kernels::Panel;

// ---- activations ----------------------------------------------------------------------------------------------------

void pack_activations(const float* x, int64_t k, ActivationBlock* out) {
  for (int64_t i = 0; i < k; i += kGemmBlock, ++out) {
    const __m512 a = _mm512_loadu_ps(x + i), b = _mm512_loadu_ps(x + i + 16);
    const float top = _mm512_reduce_max_ps(_mm512_max_ps(_mm512_abs_ps(a), _mm512_abs_ps(b)));
    // x - x is 0 for finite numbers only; a maximum may lose a NaN.
    const __m512 odd = _mm512_add_ps(_mm512_sub_ps(a, a), _mm512_sub_ps(b, b));
    const float inverse = top > 0.0f ? 127.0f / top : 0.0f;
    // A number that is not finite converts to the smallest integer. Its sums would overflow; the scale says NaN.
    const __m512i least = _mm512_set1_epi32(-127);
    const __m512i qa = _mm512_max_epi32(_mm512_cvtps_epi32(_mm512_mul_ps(a, _mm512_set1_ps(inverse))), least);
    const __m512i qb = _mm512_max_epi32(_mm512_cvtps_epi32(_mm512_mul_ps(b, _mm512_set1_ps(inverse))), least);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out->q), _mm512_cvtsepi32_epi8(qa));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out->q + 16), _mm512_cvtsepi32_epi8(qb));
    const int sums[2] = {_mm512_reduce_add_epi32(qa), _mm512_reduce_add_epi32(qb)};
    out->scale = top / 127.0f + _mm512_reduce_add_ps(odd);
    out->offset[0] = -128 * (sums[0] + sums[1]);
    out->offset[1] = -128 * sums[0];
    out->offset[2] = -128 * sums[1];
    out->sum[0] = out->scale * static_cast<float>(sums[0] + sums[1]);
    out->sum[1] = out->scale * static_cast<float>(sums[0]);
    out->sum[2] = out->scale * static_cast<float>(sums[1]);
    out->odd = 0;
  }
}

// ---- weights --------------------------------------------------------------------------------------------------------

/// Eight rows of eight 4-byte groups -> eight groups of eight rows, `stride` bytes apart.
inline void transpose(const __m256i* rows, uint8_t* out, int stride) {
  __m256i a[8], b[8];
  for (int i = 0; i < 8; i += 2) {
    a[i] = _mm256_unpacklo_epi32(rows[i], rows[i + 1]);
    a[i + 1] = _mm256_unpackhi_epi32(rows[i], rows[i + 1]);
  }
  for (int i = 0; i < 8; i += 4) {
    for (int j = 0; j < 2; ++j) {
      b[i + 2 * j] = _mm256_unpacklo_epi64(a[i + j], a[i + j + 2]);
      b[i + 2 * j + 1] = _mm256_unpackhi_epi64(a[i + j], a[i + j + 2]);
    }
  }
  for (int i = 0; i < 4; ++i) {
    _mm256_store_si256(reinterpret_cast<__m256i*>(out + i * stride), _mm256_permute2x128_si256(b[i], b[i + 4], 0x20));
    _mm256_store_si256(reinterpret_cast<__m256i*>(out + (i + 4) * stride),
                       _mm256_permute2x128_si256(b[i], b[i + 4], 0x31));
  }
}

template <class Format>
void pack_panel(const char* w, size_t row_bytes, int rows, int64_t k, const Panel& panel) {
  constexpr int kScales = 8 / Format::kSteps;
  uint8_t* u = panel.u;
  float *scale = panel.scale, *min = panel.min;
  for (int64_t at = 0; at < k; at += Format::kBlock) {
    const char* column = w + at / Format::kBlock * Format::kBytes;
    for (int part = 0; part < Format::kBlock / kGemmBlock; ++part) {
      for (int r = 0; r < kPanelRows; r += 8) {
        __m256i eight[8];
        for (int i = 0; i < 8; ++i) {
          Unpacked o;
          Format::unpack(column + static_cast<size_t>(r + i < rows ? r + i : rows - 1) * row_bytes, part, o);
          eight[i] = o.u;
          for (int s = 0; s < kScales; ++s) {
            scale[s * kPanelRows + r + i] = o.scale[s];
            if (Format::kMin) min[s * kPanelRows + r + i] = o.min[s];
          }
        }
        transpose(eight, u + 4 * r, 4 * kPanelRows);
      }
      u += kGemmBlock * kPanelRows;
      scale += kScales * kPanelRows;
      min += kScales * kPanelRows;
    }
  }
}

// ---- product --------------------------------------------------------------------------------------------------------

/// 32 rows times N columns. The sums of a block are integers; each scale group is added to the result in F32.
template <int kSteps, bool kMin, int N>
inline void multiply_columns(const Panel& panel, int64_t k, const ActivationBlock* x, int64_t x_stride, __mmask16 low,
                             __mmask16 high, float* y, int64_t y_stride) {
  __m512 result[2][N];
#pragma GCC unroll 8
  for (int c = 0; c < N; ++c) result[0][c] = result[1][c] = _mm512_setzero_ps();
  const uint8_t* u = panel.u;
  const float *scale = panel.scale, *min = panel.min;
  for (int64_t b = 0; b < k / kGemmBlock; ++b) {
#pragma GCC unroll 2
    for (int part = 0; part < 8 / kSteps; ++part) {
      const int which = kSteps == 8 ? 0 : 1 + part;
      __m512i dot[2][N];
#pragma GCC unroll 8
      for (int c = 0; c < N; ++c) {
        dot[0][c] = dot[1][c] = kMin ? _mm512_setzero_si512() : _mm512_set1_epi32(x[c * x_stride + b].offset[which]);
      }
#pragma GCC unroll 8
      for (int step = 0; step < kSteps; ++step) {
        const __m512i w0 = _mm512_load_si512(u), w1 = _mm512_load_si512(u + 64);
        u += 128;
#pragma GCC unroll 8
        for (int c = 0; c < N; ++c) {
          int32_t four;
          __builtin_memcpy(&four, x[c * x_stride + b].q + 4 * (step + part * kSteps), sizeof(four));
          const __m512i q = _mm512_set1_epi32(four);
          dot[0][c] = _mm512_dpbusd_epi32(dot[0][c], w0, q);
          dot[1][c] = _mm512_dpbusd_epi32(dot[1][c], w1, q);
        }
      }
      const __m512 s0 = _mm512_loadu_ps(scale), s1 = _mm512_loadu_ps(scale + 16);
      scale += kPanelRows;
#pragma GCC unroll 8
      for (int c = 0; c < N; ++c) {
        const __m512 d = _mm512_set1_ps(x[c * x_stride + b].scale);
        result[0][c] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(dot[0][c]), _mm512_mul_ps(s0, d), result[0][c]);
        result[1][c] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(dot[1][c]), _mm512_mul_ps(s1, d), result[1][c]);
      }
      if (kMin) {
        const __m512 m0 = _mm512_loadu_ps(min), m1 = _mm512_loadu_ps(min + 16);
        min += kPanelRows;
#pragma GCC unroll 8
        for (int c = 0; c < N; ++c) {
          const __m512 sum = _mm512_set1_ps(x[c * x_stride + b].sum[which]);
          result[0][c] = _mm512_fmadd_ps(m0, sum, result[0][c]);
          result[1][c] = _mm512_fmadd_ps(m1, sum, result[1][c]);
        }
      }
    }
  }
#pragma GCC unroll 8
  for (int c = 0; c < N; ++c) {
    _mm512_mask_storeu_ps(y + c * y_stride, low, result[0][c]);
    _mm512_mask_storeu_ps(y + c * y_stride + 16, high, result[1][c]);
  }
}

template <int kSteps, bool kMin>
void multiply(const Panel& panel, int rows, int64_t k, const ActivationBlock* x, int64_t columns, float* y,
              int64_t y_stride) {
  const int64_t stride = k / kGemmBlock;
  const auto low = static_cast<__mmask16>(rows >= 16 ? 0xffff : (1u << rows) - 1);
  const auto high = static_cast<__mmask16>(rows >= 32 ? 0xffff : rows <= 16 ? 0 : (1u << (rows - 16)) - 1);
  int64_t c = 0;
  for (; c + 6 <= columns; c += 6) {
    multiply_columns<kSteps, kMin, 6>(panel, k, x + c * stride, stride, low, high, y + c * y_stride, y_stride);
  }
  for (; c + 3 <= columns; c += 3) {
    multiply_columns<kSteps, kMin, 3>(panel, k, x + c * stride, stride, low, high, y + c * y_stride, y_stride);
  }
  for (; c < columns; ++c) {
    multiply_columns<kSteps, kMin, 1>(panel, k, x + c * stride, stride, low, high, y + c * y_stride, y_stride);
  }
}

/// Calls f with the format of a type; false for a type without one.
template <class F>
bool with_format(ggml_type type, const F& f) {
  switch (type) {
    case GGML_TYPE_Q8_0:
      return f(Q8_0()), true;
    case GGML_TYPE_Q4_0:
      return f(Q4_0()), true;
    case GGML_TYPE_Q4_1:
      return f(Q4_1()), true;
    case GGML_TYPE_Q5_0:
      return f(Q5_0()), true;
    case GGML_TYPE_Q5_1:
      return f(Q5_1()), true;
    case GGML_TYPE_IQ4_NL:
      return f(IQ4_NL()), true;
    case GGML_TYPE_IQ4_XS:
      return f(IQ4_XS()), true;
    case GGML_TYPE_Q2_K:
      return f(Q2_K()), true;
    case GGML_TYPE_Q3_K:
      return f(Q3_K()), true;
    case GGML_TYPE_Q4_K:
      return f(Q4_K()), true;
    case GGML_TYPE_Q5_K:
      return f(Q5_K()), true;
    case GGML_TYPE_Q6_K:
      return f(Q6_K()), true;
    default:
      return false;
  }
}

bool takes(ggml_type type) {
  return with_format(type, [](auto) {});
}

void pack_any(ggml_type type, const char* w, size_t row_bytes, int rows, int64_t k, const Panel& panel) {
  with_format(type, [&](auto format) { pack_panel<decltype(format)>(w, row_bytes, rows, k, panel); });
}

void multiply_any(ggml_type type, const Panel& panel, int rows, int64_t k, const ActivationBlock* x, int64_t columns,
                  float* y, int64_t y_stride) {
  with_format(type, [&](auto format) {
    using Format = decltype(format);
    multiply<Format::kSteps, Format::kMin>(panel, rows, k, x, columns, y, y_stride);
  });
}

}  // namespace
#endif

namespace etggml::kernels {

GemmFunctions gemm_avx512vnni() {
#ifdef ETGGML_BUILD_AVX512VNNI
  return {takes, pack_activations, pack_any, multiply_any};
#else
  return {};
#endif
}

}  // namespace etggml::kernels
