// DepthwiseFunctions on struct Simd (simd_*.h), which the including file chooses. Unnamed namespace: see there.
//
// The plane is copied first, with its border of zeros and, where the stride is not 1, with the columns of equal
// remainder side by side. After that each element of the kernel is one plain load for a register of results.
#pragma once

#include "graph/kernels/depthwise.h"
#include "graph/kernels/epilogue_simd.h"

namespace {

using etggml::graph::DepthwisePlane;

/// The copy: [rows][stride_w remainders][row].
struct Padded {
  int64_t rows, row, pitch;  // pitch: from one row to the next
  explicit Padded(const DepthwisePlane& p) {
    rows = (p.out_h - 1) * p.stride_h + (p.kernel_h - 1) * p.dilation_h + 1;
    row = (p.out_w + kW - 1) / kW * kW + (p.kernel_w - 1) * p.dilation_w / p.stride_w;
    pitch = row * p.stride_w;
  }
};

int64_t depthwise_scratch(const DepthwisePlane& p) {
  const Padded padded(p);
  // A register more: copies write whole registers.
  return padded.rows * padded.pitch + 2 * kW + p.kernel_h * p.kernel_w * 2;
}

/// Columns first, first + step, ... of a row of the image, `count` of them.
inline void copy_columns(const float* x, int64_t step, int64_t count, float* out) {
  int64_t i = 0;
  if (step == 1) {
    for (; i < count; i += kW) {
      const Simd::Mask mask = Simd::first(count - i < kW ? static_cast<int>(count - i) : kW);
      Simd::store(out + i, Simd::load(x + i, mask), mask);
    }
  } else if (step == 2) {
    for (; i + kW < count; i += kW)  // the last one of a register is followed by one more
      Simd::store(out + i, Simd::even(Simd::load(x + 2 * i), Simd::load(x + 2 * i + kW)));
  }
  for (; i < count; ++i) out[i] = x[i * step];
}

inline void copy_plane(const DepthwisePlane& p, const Padded& padded, float* copy) {
  for (int64_t r = 0; r < padded.rows; ++r) {
    float* out = copy + r * padded.pitch;
    for (int64_t i = 0; i < padded.pitch; i += kW) Simd::store(out + i, Simd::zero());  // spills into the next row
    const int64_t from = r - p.padding_h;
    if (from < 0 || from >= p.height) continue;
    const float* x = p.image + from * p.width;
    for (int64_t f = 0; f < p.stride_w; ++f) {
      // Element i is column i * stride_w + f - padding_w of the image.
      const int64_t first = f >= p.padding_w ? 0 : (p.padding_w - f + p.stride_w - 1) / p.stride_w;
      const int64_t column = first * p.stride_w + f - p.padding_w;
      const int64_t there = column < p.width ? (p.width - column + p.stride_w - 1) / p.stride_w : 0;
      const int64_t count = there < padded.row - first ? there : padded.row - first;
      if (count > 0) copy_columns(x + column, p.stride_w, count, out + f * padded.row + first);
    }
  }
}

/// U rows of the result, all of them.
template <int U>
inline void depthwise_rows(const DepthwisePlane& p, int64_t pitch, int64_t row, const float* copy,
                           const int64_t* offsets) {
  const int taps = static_cast<int>(p.kernel_h * p.kernel_w);
  const int64_t step = p.stride_h * pitch;
  for (int64_t c = 0; c < p.out_w; c += kW) {
    const float* x = copy + row * step + c;
    Reg acc[U];
#pragma GCC unroll 4
    for (int u = 0; u < U; ++u) acc[u] = Simd::set(p.bias);
    for (int t = 0; t < taps; ++t) {
      const Reg w = Simd::set(p.kernel[t]);
      const float* at = x + offsets[t];
#pragma GCC unroll 4
      for (int u = 0; u < U; ++u) acc[u] = Simd::fma(w, Simd::load(at + u * step), acc[u]);
    }
    const Simd::Mask mask = Simd::first(p.out_w - c < kW ? static_cast<int>(p.out_w - c) : kW);
#pragma GCC unroll 4
    for (int u = 0; u < U; ++u) {
      Simd::store(p.y + (row + u) * p.out_w + c, clamp(p.epilogue, activate(p.epilogue.activation, acc[u])), mask);
    }
  }
}

void depthwise_plane(const DepthwisePlane& p, float* scratch) {
  const Padded padded(p);
  const int64_t taps = p.kernel_h * p.kernel_w;
  auto* offsets = reinterpret_cast<int64_t*>(scratch);
  float* copy = scratch + 2 * taps;
  for (int64_t i = 0, t = 0; i < p.kernel_h; ++i) {
    for (int64_t j = 0; j < p.kernel_w; ++j, ++t) {
      const int64_t column = j * p.dilation_w;
      offsets[t] = i * p.dilation_h * padded.pitch + column % p.stride_w * padded.row + column / p.stride_w;
    }
  }
  copy_plane(p, padded, copy);
  int64_t row = 0;
  for (; row + 4 <= p.out_h; row += 4) depthwise_rows<4>(p, padded.pitch, row, copy, offsets);
  for (; row < p.out_h; ++row) depthwise_rows<1>(p, padded.pitch, row, copy, offsets);
}

}  // namespace
