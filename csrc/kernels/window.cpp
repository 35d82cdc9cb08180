#include "kernels/window.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/window.cpp"
#include "hwy/foreach_target.h"  // reads this file for every target
// after it
#include "kernels/epilogue-inl.h"

HWY_BEFORE_NAMESPACE();
namespace etggml::kernels::HWY_NAMESPACE {
namespace {

#if ETGGML_SIMD

struct Convolve {
  static Reg outside() { return zero(); }
  static Reg start(const WindowPlane& p) { return set(p.bias); }
  static Reg step(const WindowPlane& p, int64_t tap, Reg acc, Reg x) { return hn::MulAdd(set(p.kernel[tap]), x, acc); }
  static Reg finish(const WindowPlane& p, Reg acc) { return clamp(p.epilogue, activate(p.epilogue.activation, acc)); }
};

struct Max {
  static Reg outside() { return set(-__builtin_inff()); }
  static Reg start(const WindowPlane&) { return outside(); }
  /// maximum() keeps an accumulator that is NaN; an x that is NaN is not >= itself.
  static Reg step(const WindowPlane&, int64_t, Reg acc, Reg x) { return where_ge(x, x, maximum(x, acc), x); }
  static Reg finish(const WindowPlane&, Reg acc) { return acc; }
};

struct Mean {
  static Reg outside() { return zero(); }
  static Reg start(const WindowPlane&) { return zero(); }
  static Reg step(const WindowPlane&, int64_t, Reg acc, Reg x) { return hn::Add(acc, x); }
  static Reg finish(const WindowPlane& p, Reg acc) {
    return hn::Div(acc, set(static_cast<float>(p.window_h * p.window_w)));
  }
};

/// Lanes of the image that a register of results reads for one column of the window: the first register and, with
/// stride 2, the second.
struct Reach {
  Mask low, high;
};

inline int within(int64_t i, int64_t end) { return static_cast<int>(i < 0 ? 0 : i > end ? end : i); }

/// Masks for the results from column c on; `first`: the column of the image that the window's first one meets.
HWY_INLINE void reaches(const WindowPlane& p, int64_t first, Reach* out) {
  for (int64_t j = 0; j < p.window_w; ++j) {
    const int64_t at = first + j * p.dilation_w;
    out[j].low = lanes_between(within(-at, kW), within(p.width - at, kW));
    out[j].high = lanes_between(within(-at - kW, kW), within(p.width - at - kW, kW));
  }
}

/// x, x + stride, ... for one register of results; lanes outside the row of the image [row, row + width) are `outside`.
template <int S>
inline Reg window_lanes(const WindowPlane& p, const float* row, int64_t column, const Reach& reach, Reg outside) {
  if (S == 1) return load(row + column, reach.low, outside);
  if (S == 2) {
    const Reg low = load(row + column, reach.low, outside);
    return even_lanes(low, load(row + column + kW, reach.high, outside));
  }
  alignas(64) float lanes[kW];
  store(lanes, outside);
  for (int l = 0; l < kW; ++l, column += p.stride_w) {
    if (column >= 0 && column < p.width) lanes[l] = row[column];
  }
  return load(lanes);
}

/// U rows of results from `row` on, one register wide. Window rows outside the image are left out if CHECK.
template <class Op, int S, int K, int U, bool CHECK>
inline void window_rows(const WindowPlane& p, int64_t row, int64_t c, int64_t first, const Reach* reach) {
  const int64_t kh = K ? K : p.window_h, kw = K ? K : p.window_w;
  const Reg outside = Op::outside();
  Reg acc[U];
  HWY_UNROLL(4)
  for (int u = 0; u < U; ++u) acc[u] = Op::start(p);
  HWY_UNROLL(5)
  for (int64_t i = 0; i < kh; ++i) {
    const int64_t from = row * p.stride_h + i * p.dilation_h - p.padding_h;
    if (CHECK && (from < 0 || from >= p.height)) continue;
    const float* x = p.image + from * p.width;
    HWY_UNROLL(5)
    for (int64_t j = 0; j < kw; ++j) {
      HWY_UNROLL(4)
      for (int u = 0; u < U; ++u) {
        const Reg lanes = window_lanes<S>(p, x + u * p.stride_h * p.width, first + j * p.dilation_w, reach[j], outside);
        acc[u] = Op::step(p, i * kw + j, acc[u], lanes);
      }
    }
  }
  const Mask mask = first_lanes(within(p.out_w - c, kW));
  HWY_UNROLL(4)
  for (int u = 0; u < U; ++u) store(p.y + (row + u) * p.out_w + c, Op::finish(p, acc[u]), mask);
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

WindowFunctions of_target() { return {convolve, max_pool, mean_pool}; }

#else

WindowFunctions of_target() { return {}; }

#endif

}  // namespace
}  // namespace etggml::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace etggml::kernels {

HWY_EXPORT(of_target);

WindowFunctions window_functions() { return HWY_DYNAMIC_DISPATCH(of_target)(); }

}  // namespace etggml::kernels
#endif  // HWY_ONCE
