// Plain decoding of blocks of weights, by the layouts of ggml-common.h, for checks in double precision.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <string>

#include "ggml.h"

namespace {

float half_at(const uint8_t* p) {
  uint16_t bits;
  std::memcpy(&bits, p, 2);
  const int exponent = bits >> 10 & 31, mantissa = bits & 1023;
  const float v = std::ldexp(static_cast<float>(exponent ? 1024 + mantissa : mantissa), (exponent ? exponent : 1) - 25);
  return bits >> 15 ? -v : v;
}

void decode_q8_0(const uint8_t* b, float* y) {
  for (int i = 0; i < 32; ++i) y[i] = half_at(b) * static_cast<float>(static_cast<int8_t>(b[2 + i]));
}

void decode_q4_0(const uint8_t* b, float* y) {
  for (int i = 0; i < 16; ++i) {
    y[i] = half_at(b) * static_cast<float>((b[2 + i] & 15) - 8);
    y[i + 16] = half_at(b) * static_cast<float>((b[2 + i] >> 4) - 8);
  }
}

void decode_q5_0(const uint8_t* b, float* y) {
  for (int i = 0; i < 32; ++i) {
    const int low = i < 16 ? b[6 + i] & 15 : b[6 + i - 16] >> 4, high = b[2 + i / 8] >> (i % 8) & 1;
    y[i] = half_at(b) * static_cast<float>((low | high << 4) - 16);
  }
}

/// Q4_K, or Q5_K with a fifth bit of each quant in 32 bytes of its own.
void decode_k(const uint8_t* b, float* y, bool fifth) {
  const float d = half_at(b), least = half_at(b + 2);
  const uint8_t *packed = b + 4, *high = b + 16, *quants = b + (fifth ? 48 : 16);
  for (int j = 0; j < 8; ++j) {
    int scale, minimum;
    if (j < 4) {
      scale = packed[j] & 63;
      minimum = packed[j + 4] & 63;
    } else {
      scale = (packed[j + 4] & 15) | ((packed[j - 4] >> 6) << 4);
      minimum = (packed[j + 4] >> 4) | ((packed[j] >> 6) << 4);
    }
    for (int i = 0; i < 32; ++i) {
      const int byte = quants[j / 2 * 32 + i];
      int q = j % 2 ? byte >> 4 : byte & 15;
      if (fifth) q |= (high[i] >> j & 1) << 4;
      y[j * 32 + i] = d * static_cast<float>(scale * q) - least * static_cast<float>(minimum);
    }
  }
}

void decode_q4_k(const uint8_t* b, float* y) { decode_k(b, y, false); }
void decode_q5_k(const uint8_t* b, float* y) { decode_k(b, y, true); }

void decode_q6_k(const uint8_t* b, float* y) {
  const float d = half_at(b + 208);
  const auto* scales = reinterpret_cast<const int8_t*>(b + 192);
  for (int half = 0; half < 2; ++half) {
    for (int l = 0; l < 32; ++l) {
      const uint8_t *low = b + 64 * half, *high = b + 128 + 32 * half;
      const int q[4] = {(low[l] & 15) | (high[l] & 3) << 4, (low[l + 32] & 15) | (high[l] >> 2 & 3) << 4,
                        (low[l] >> 4) | (high[l] >> 4 & 3) << 4, (low[l + 32] >> 4) | (high[l] >> 6) << 4};
      for (int i = 0; i < 4; ++i)
        y[half * 128 + i * 32 + l] = d * static_cast<float>(scales[half * 8 + i * 2 + l / 16] * (q[i] - 32));
    }
  }
}

struct Format {
  const char* name;
  ggml_type type;
  int elements, bytes;  // of a block
  void (*decode)(const uint8_t* block, float* values);
};

const Format kFormats[] = {{"q8_0", GGML_TYPE_Q8_0, 32, 34, decode_q8_0},
                           {"q4_0", GGML_TYPE_Q4_0, 32, 18, decode_q4_0},
                           {"q5_0", GGML_TYPE_Q5_0, 32, 22, decode_q5_0},
                           {"q4_k", GGML_TYPE_Q4_K, 256, 144, decode_q4_k},
                           {"q5_k", GGML_TYPE_Q5_K, 256, 176, decode_q5_k},
                           {"q6_k", GGML_TYPE_Q6_K, 256, 210, decode_q6_k}};

const Format* format_named(const std::string& name) {
  for (const Format& format : kFormats)
    if (name == format.name) return &format;
  return nullptr;
}

}  // namespace
