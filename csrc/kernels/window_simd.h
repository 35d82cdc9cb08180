// WindowFunctions on struct Simd (simd_*.h), which the including file chooses. Unnamed namespace: see there.
//
// A register holds results of one row side by side. Nothing is copied: what lies outside the image is masked when it is
// loaded, with masks that are the same for all rows.
#pragma once

#include "kernels/epilogue_simd.h"
#include "kernels/window.h"

namespace {

using etggml::graph::kMaxWindow;
using etggml::graph::WindowPlane;

struct Convolve {
  static Reg outside() { return Simd::zero(); }
  static Reg start(const WindowPlane& p) { return Simd::set(p.bias); }
  static Reg step(const WindowPlane& p, int64_t tap, Reg acc, Reg x) {
    return Simd::fma(Simd::set(p.kernel[tap]), x, acc);
  }
  static Reg finish(const WindowPlane& p, Reg acc) { return clamp(p.epilogue, activate(p.epilogue.activation, acc)); }
};

struct Max {
  static Reg outside() { return Simd::set(-__builtin_inff()); }
  static Reg start(const WindowPlane&) { return outside(); }
  /// max() keeps an accumulator that is NaN; an x that is NaN is what is not >= itself.
  static Reg step(const WindowPlane&, int64_t, Reg acc, Reg x) { return Simd::where_ge(x, x, Simd::max(x, acc), x); }
  static Reg finish(const WindowPlane&, Reg acc) { return acc; }
};

struct Mean {
  static Reg outside() { return Simd::zero(); }
  static Reg start(const WindowPlane&) { return Simd::zero(); }
  static Reg step(const WindowPlane&, int64_t, Reg acc, Reg x) { return Simd::add(acc, x); }
  static Reg finish(const WindowPlane& p, Reg acc) {
    return Simd::div(acc, Simd::set(static_cast<float>(p.window_h * p.window_w)));
  }
};

/// Lanes of the image that a register of results reads for one column of the window: the first register and, with
/// stride 2, the second.
struct Reach {
  Simd::Mask low, high;
};

inline int within(int64_t i, int64_t end) { return static_cast<int>(i < 0 ? 0 : i > end ? end : i); }

/// Masks for the results from column c on; `first`: the column of the image that the window's first one meets.
inline void reaches(const WindowPlane& p, int64_t first, Reach* out) {
  for (int64_t j = 0; j < p.window_w; ++j) {
    const int64_t at = first + j * p.dilation_w;
    out[j].low = Simd::lanes(within(-at, kW), within(p.width - at, kW));
    out[j].high = Simd::lanes(within(-at - kW, kW), within(p.width - at - kW, kW));
  }
}

/// x, x + stride, ... for one register of results; lanes outside the row of the image [row, row + width) are `outside`.
template <int S>
inline Reg window_lanes(const WindowPlane& p, const float* row, int64_t column, const Reach& reach, Reg outside) {
  if (S == 1) return Simd::load(row + column, reach.low, outside);
  if (S == 2) {
    const Reg low = Simd::load(row + column, reach.low, outside);
    return Simd::even(low, Simd::load(row + column + kW, reach.high, outside));
  }
  alignas(64) float lanes[kW];
  Simd::store(lanes, outside);
  for (int l = 0; l < kW; ++l, column += p.stride_w) {
    if (column >= 0 && column < p.width) lanes[l] = row[column];
  }
  return Simd::load(lanes);
}

/// U rows of results from `row` on, one register wide. Window rows outside the image are left out if CHECK.
template <class Op, int S, int K, int U, bool CHECK>
inline void window_rows(const WindowPlane& p, int64_t row, int64_t c, int64_t first, const Reach* reach) {
  const int64_t kh = K ? K : p.window_h, kw = K ? K : p.window_w;
  const Reg outside = Op::outside();
  Reg acc[U];
#pragma GCC unroll 4
  for (int u = 0; u < U; ++u) acc[u] = Op::start(p);
#pragma GCC unroll 5
  for (int64_t i = 0; i < kh; ++i) {
    const int64_t from = row * p.stride_h + i * p.dilation_h - p.padding_h;
    if (CHECK && (from < 0 || from >= p.height)) continue;
    const float* x = p.image + from * p.width;
#pragma GCC unroll 5
    for (int64_t j = 0; j < kw; ++j) {
#pragma GCC unroll 4
      for (int u = 0; u < U; ++u) {
        const Reg lanes = window_lanes<S>(p, x + u * p.stride_h * p.width, first + j * p.dilation_w, reach[j], outside);
        acc[u] = Op::step(p, i * kw + j, acc[u], lanes);
      }
    }
  }
  const Simd::Mask mask = Simd::first(within(p.out_w - c, kW));
#pragma GCC unroll 4
  for (int u = 0; u < U; ++u) Simd::store(p.y + (row + u) * p.out_w + c, Op::finish(p, acc[u]), mask);
}

template <class Op, int S, int K>
void window_plane(const WindowPlane& p) {
  // Rows [low, high) of the result: their windows lie within the image's rows.
  const int64_t span = (p.window_h - 1) * p.dilation_h;
  int64_t low = (p.padding_h + p.stride_h - 1) / p.stride_h;
  if (low > p.out_h) low = p.out_h;
  const int64_t room = p.height - 1 - span + p.padding_h;
  int64_t high = room < 0 ? 0 : room / p.stride_h + 1;
  if (high > p.out_h) high = p.out_h;
  if (high < low) high = low;
  Reach reach[kMaxWindow];
  for (int64_t c = 0; c < p.out_w; c += kW) {
    const int64_t first = c * p.stride_w - p.padding_w;
    reaches(p, first, reach);
    int64_t row = 0;
    for (; row < low; ++row) window_rows<Op, S, K, 1, true>(p, row, c, first, reach);
    for (; row + 4 <= high; row += 4) window_rows<Op, S, K, 4, false>(p, row, c, first, reach);
    for (; row < high; ++row) window_rows<Op, S, K, 1, false>(p, row, c, first, reach);
    for (; row < p.out_h; ++row) window_rows<Op, S, K, 1, true>(p, row, c, first, reach);
  }
}

template <class Op, int S>
inline void window_stride(const WindowPlane& p) {
  if (p.window_h == 3 && p.window_w == 3) return window_plane<Op, S, 3>(p);
  if (p.window_h == 5 && p.window_w == 5) return window_plane<Op, S, 5>(p);
  window_plane<Op, S, 0>(p);
}

template <class Op>
inline void window(const WindowPlane& p) {
  switch (p.stride_w) {
    case 1:
      return window_stride<Op, 1>(p);
    case 2:
      return window_stride<Op, 2>(p);
    default:
      window_plane<Op, 0, 0>(p);
  }
}

void convolve(const WindowPlane& p) { window<Convolve>(p); }
void max_pool(const WindowPlane& p) { window<Max>(p); }
void mean_pool(const WindowPlane& p) { window<Mean>(p); }

}  // namespace
