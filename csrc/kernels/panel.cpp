#include "kernels/panel.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/panel.cpp"
#include "hwy/foreach_target.h"  // reads this file for every target
// after it
#include "kernels/epilogue-inl.h"

HWY_BEFORE_NAMESPACE();
namespace etggml::kernels::HWY_NAMESPACE {
namespace {

#if ETGGML_SIMD

constexpr int kPanelWidth = kPanelVectors * kW;
constexpr int kBlockRows = kW < 8 ? 8 : kW;

inline int least(int64_t a, int64_t b) { return static_cast<int>(a < b ? a : b); }

// Rows at a time. Accumulators, one register of each column vector and one element of a row must fit into the
// registers. There must be enough accumulators to hide the latency of a fused multiplication.
template <int V>
constexpr int kTileRows = V == 1 || kW < 8 ? kBlockRows : kBlockRows / 2;

// A function of its own: among the caller's variables the compiler no longer keeps the accumulators in registers.
// kScattered: rows of the panel lie where p.at says.
template <int V, bool kScattered>
HWY_NOINLINE void tile(const PanelProduct& p, int first) {
  constexpr int R = kTileRows<V>;
  const int rows = p.rows - first < R ? p.rows - first : R;
  const float* w[R];
  HWY_UNROLL(16)
  for (int r = 0; r < R; ++r) w[r] = p.weights + (first + (r < rows ? r : rows - 1)) * p.weight_stride;
  Reg acc[R][V];
  HWY_UNROLL(16)
  for (int r = 0; r < R; ++r) {
    const Reg bias = p.bias ? set(p.bias[first + (r < rows ? r : rows - 1)]) : zero();
    HWY_UNROLL(3)
    for (int v = 0; v < V; ++v) acc[r][v] = bias;
  }
  if (kScattered) {  // many terms, and a result that no cache may have yet
    for (int r = 0; r < rows; ++r) {
      for (int v = 0; v < V; ++v) prefetch_to_write(p.y + (first + r) * p.y_stride + v * kW);
    }
  }
  const auto mask = [&](int64_t k, int v) HWY_ATTR {
    Mask m;
    memcpy(&m, p.masks + p.at[k].mask + v * static_cast<int>(sizeof(m)), sizeof(m));
    return m;
  };
  const float* next_row = p.panel;
  const auto step = [&](int64_t k) HWY_ATTR {
    const float* b = kScattered ? p.panel + p.at[k].at : next_row;
    Reg x[V];
    HWY_UNROLL(3)
    for (int v = 0; v < V; ++v) x[v] = kScattered ? load_whole(b + v * kW, mask(k, v)) : load(b + v * kW);
    HWY_UNROLL(16)
    for (int r = 0; r < R; ++r) {
      const Reg a = set(w[r][k]);
      HWY_UNROLL(3)
      for (int v = 0; v < V; ++v) acc[r][v] = hn::MulAdd(a, x[v], acc[r][v]);
    }
    next_row += V * kW;
  };
  // Asks for the rows that come next. Beyond the last row a prefetch does nothing.
  if (kScattered) {  // R elements a step; unrolled, the compiler no longer keeps the accumulators in registers
    const float* next = w[0] + R * p.weight_stride;
    for (int64_t begin = 0; begin < p.k; begin += p.period) {
      HWY_UNROLL(1)
      for (int64_t k = begin + p.from; k < begin + p.to; ++k) {
        prefetch(next + k * R);
        step(k);
      }
    }
  } else if (kW < 8) {  // unrolled, too many elements of rows wait in registers
    const float* next = w[0] + R * p.weight_stride;
    HWY_UNROLL(1)
    for (int64_t k = 0; k < p.k; ++k) {
      prefetch(next + k * R);
      step(k);
    }
  } else {  // in R steps R elements of each
    const int64_t next = R * p.weight_stride;
    int64_t k = 0;
    for (; k + R <= p.k; k += R) {
      HWY_UNROLL(16)
      for (int r = 0; r < R; ++r) {
        prefetch(w[r] + next + k);
        step(k + r);
      }
    }
    for (; k < p.k; ++k) step(k);
  }
  const Mask last = first_lanes(p.columns - (V - 1) * kW);
  HWY_UNROLL(16)
  for (int r = 0; r < R; ++r) {
    float* y = p.y + (first + r) * p.y_stride;
    if (r < rows && p.add) {
      const float* add = p.add + (first + r) * p.y_stride;
      HWY_UNROLL(3)
      for (int v = 0; v < V - 1; ++v) acc[r][v] = hn::Add(acc[r][v], load(add + v * kW));
      acc[r][V - 1] = hn::Add(acc[r][V - 1], load(add + (V - 1) * kW, last));
    }
    if (r < rows) {
      HWY_UNROLL(3)
      for (int v = 0; v < V - 1; ++v) store(y + v * kW, clamp(p.epilogue, acc[r][v]));
      store(y + (V - 1) * kW, clamp(p.epilogue, acc[r][V - 1]), last);
    }
  }
}

#if HWY_ARCH_X86
/// The same rows as tile<kPanelVectors>, times the columns of the tail, two at a time: as many sums as lanes.
HWY_NOINLINE void tail_tile(const PanelProduct& p, int first) {
  constexpr int R = kTileRows<kPanelVectors>;
  static_assert(2 * R == kW, "a lane for each sum");
  const int rows = p.rows - first < R ? p.rows - first : R;
  const float* w[R];
  alignas(64) float bias[kW], sums[kW];
  for (int r = 0; r < R; ++r) {
    const int row = first + (r < rows ? r : rows - 1);
    w[r] = p.weights + row * p.weight_stride;
    bias[r] = bias[R + r] = p.bias ? p.bias[row] : 0.0f;
  }
  for (int c = 0; c < p.tail_columns; c += 2) {
    const int count = p.tail_columns - c < 2 ? 1 : 2;
    const float *x0 = p.tail + c * p.tail_stride, *x1 = x0 + (count - 1) * p.tail_stride;
    Reg acc[kW];
    HWY_UNROLL(16)
    for (int i = 0; i < kW; ++i) acc[i] = zero();
    const auto step = [&](int64_t k, auto... mask) HWY_ATTR {
      const Reg a = load(x0 + k, mask...), b = load(x1 + k, mask...);
      HWY_UNROLL(8)
      for (int r = 0; r < R; ++r) {
        const Reg row = load(w[r] + k, mask...);
        acc[r] = hn::MulAdd(row, a, acc[r]);
        acc[R + r] = hn::MulAdd(row, b, acc[R + r]);
      }
    };
    int64_t k = 0;
    for (; k + kW <= p.k; k += kW) step(k);
    if (k < p.k) step(k, first_lanes(static_cast<int>(p.k - k)));
    transpose(acc);
    HWY_UNROLL(4)
    for (int n = kW / 2; n > 0; n /= 2) {
      HWY_UNROLL(8)
      for (int i = 0; i < n; ++i) acc[i] = hn::Add(acc[i], acc[i + n]);
    }
    alignas(64) float add[kW] = {};
    for (int r = 0; p.add && r < rows; ++r) {
      for (int j = 0; j < count; ++j) add[j * R + r] = p.add[(first + r) * p.y_stride + p.columns + c + j];
    }
    const Reg sum = hn::Add(acc[0], load(bias));
    store(sums, clamp(p.epilogue, hn::Add(sum, load(add))));
    for (int r = 0; r < rows; ++r) {
      float* y = p.y + (first + r) * p.y_stride + p.columns + c;
      for (int j = 0; j < count; ++j) y[j] = sums[j * R + r];
    }
  }
}

#else
// Where a register has few lanes a panel wastes few of them: there is no tail.
inline void tail_tile(const PanelProduct&, int) {}
#endif

template <int V>
inline void block(const PanelProduct& p) {
  for (int first = 0; first < p.rows; first += kTileRows<V>) {
    p.at ? tile<V, true>(p, first) : tile<V, false>(p, first);
    if (V == kPanelVectors && p.tail_columns > 0) tail_tile(p, first);
  }
}

inline void activate_rows(const Epilogue& e, int rows, int columns, float* y, int64_t stride) {
  for (int r = 0; r < rows; ++r) {
    for (int c = 0; c < columns; c += kW) {
      const Mask mask = first_lanes(least(columns - c, kW));
      float* at = y + r * stride + c;
      store(at, clamp(e, activate(e.activation, load(at, mask))), mask);
    }
  }
}

/// Straight into y; an activation afterwards, while the block is in the nearest cache.
inline void multiply_straight(const PanelProduct& p) {
  PanelProduct plain = p;
  const bool later = p.epilogue.activation != Activation::kNone;
  if (later) plain.epilogue = Epilogue();
  switch ((p.columns + kW - 1) / kW) {
    case 1:
      block<1>(plain);
      break;
    case 2:
      block<2>(plain);
      break;
    default:
      block<3>(plain);
  }
  if (later) activate_rows(p.epilogue, p.rows, p.columns + p.tail_columns, p.y, p.y_stride);
}

void multiply(const PanelProduct& p) {
  if (!p.transposed) return multiply_straight(p);
  constexpr int kStride = kPanelWidth + kW;
  static_assert(kPanelTail <= kW || kW < 8, "room for the tail");
  alignas(64) float local[kBlockRows * kStride];
  PanelProduct straight = p;
  straight.epilogue = Epilogue();
  straight.y = local;
  straight.y_stride = kStride;
  multiply_straight(straight);
  const int columns = p.columns + p.tail_columns;
  for (int first = 0; first < p.rows; first += kW) {
    const Mask rows = first_lanes(least(p.rows - first, kW));
    for (int c = 0; c < columns; c += kW) {
      Reg t[kW];
      for (int r = 0; r < kW; ++r) t[r] = load(local + (first + r) * kStride + c);
      transpose(t);
      const int count = least(columns - c, kW);
      for (int i = 0; i < count; ++i) {
        float* y = p.y + (c + i) * p.y_stride + first;
        const Reg x = p.adds ? hn::Add(t[i], load(y, rows)) : t[i];
        store(y, clamp(p.epilogue, activate(p.epilogue.activation, x)), rows);
      }
    }
  }
}

void pack_rows(const float* x, int64_t row_stride, int columns, int64_t from, int64_t to, float* panel) {
  const int width = (columns + kW - 1) / kW * kW;
  for (int64_t k = from; k < to; k += kW) {
    const int depth = least(to - k, kW);
    const Mask mask = first_lanes(depth);
    for (int c = 0; c < width; c += kW) {
      Reg t[kW];
      for (int i = 0; i < kW; ++i) {
        t[i] = c + i < columns ? load(x + (c + i) * row_stride + k, mask) : zero();
      }
      transpose(t);
      for (int i = 0; i < depth; ++i) store(panel + (k + i) * width + c, t[i]);
    }
  }
}

/// Where the lanes of the panel's registers come from for one element of the kernel, if pixels lie side by side. A
/// piece is loaded into the lanes of its mask. Its address counts from lane 0 and may lie outside the image.
struct Pieces {
  int most = 0;                       // of a register
  int count[kPanelVectors] = {};      // by register
  int64_t offset[kPanelVectors][kW];  // from the start of a plane
  Mask mask[kPanelVectors][kW];

  /// Columns [at, at + n) of the panel come from n pixels from `from` on.
  void add(int at, int n, int64_t from) {
    for (int v = at / kW; v * kW < at + n; ++v) {
      const int low = at > v * kW ? at - v * kW : 0, high = least(at + n - v * kW, kW);
      offset[v][count[v]] = from - at + v * kW;
      mask[v][count[v]] = lanes_between(low, high);
      if (++count[v] > most) most = count[v];
    }
  }
};

/// Registers [first, first + V) of one element of the kernel in all channels, N pieces or fewer in each.
template <int V, int N>
inline void pack_pieces(const PixelSource& s, const Pieces& pieces, int first, float* out, int64_t step) {
  int64_t offset[V][N];
  Mask mask[V][N];
  for (int v = 0; v < V; ++v) {
    for (int n = 0; n < N; ++n) {
      const bool used = n < pieces.count[first + v];
      offset[v][n] = used ? pieces.offset[first + v][n] : 0;
      mask[v][n] = used ? pieces.mask[first + v][n] : first_lanes(0);
    }
  }
  const float* image = s.image;
  out += first * kW;
  for (int64_t c = 0; c < s.channels; ++c, image += s.plane_stride, out += step) {
    HWY_UNROLL(3)
    for (int v = 0; v < V; ++v) {
      Reg x = zero();
      HWY_UNROLL(16)
      for (int n = 0; n < N; ++n) x = load(image + offset[v][n], mask[v][n], x);
      store(out + v * kW, x);
    }
  }
}

template <int N>
inline void pack_pieces(const PixelSource& s, const Pieces& pieces, int width, float* out, int64_t step) {
  if (width == kPanelWidth) return pack_pieces<kPanelVectors, N>(s, pieces, 0, out, step);
  for (int v = 0; v * kW < width; ++v) pack_pieces<1, N>(s, pieces, v, out, step);
}

/// The elements that a run reads for one element of the kernel.
struct Lanes {
  int64_t offset;  // from the start of a plane, of the first lane that lies in the image
  int at;          // where that lane goes in a row of the panel
  int count;
  Mask low, high;  // lanes to load (with stride 2, from two registers)
  Mask all;        // lanes to store
};

template <int S>
inline Reg load_pixels(const float* p, int64_t stride, const Lanes& l) {
  if (S == 2) return even_lanes(load(p, l.low), load(p + kW, l.high));
  alignas(64) float lanes[kW] = {};
  for (int i = 0; i < l.count; ++i) lanes[i] = p[i * stride];
  return load(lanes);
}

/// One element of the kernel in all channels: rows of the panel `step` apart.
template <int S>
inline void pack_element(const PixelSource& s, const Lanes* lanes, int used, int zeros, float* out, int64_t step) {
  const float* image = s.image;
  for (int64_t c = 0; c < s.channels; ++c, image += s.plane_stride, out += step) {
    for (int v = 0; v < zeros; v += kW) store(out + v, zero());
    for (int n = 0; n < used; ++n) {
      const Lanes& l = lanes[n];
      store(out + l.at, load_pixels<S>(image + l.offset, s.stride_w, l), l.all);
    }
  }
}

/// n / stride, rounded up. A division takes as long as packing a register or two, and most strides are 1 or 2.
inline int64_t strides(int64_t n, int64_t stride) {
  return stride == 1 ? n : stride == 2 ? (n + 1) / 2 : (n + stride - 1) / stride;
}

/// Lanes of a run that lie between the sides of the image, for the kernel's column j. There are `count`, or none where
/// it is not positive, from lane `at` of the panel on. The first is at `offset` of its row.
inline void clip(const PixelSource& s, const PixelRun& run, int64_t j, int64_t* offset, int* at, int* count) {
  const int64_t column = run.column + j * s.dilation_w;
  const int64_t skip = column < 0 ? strides(-column, s.stride_w) : 0;
  const int64_t end = column < s.width ? strides(s.width - column, s.stride_w) : 0;
  *count = static_cast<int>((end < run.count ? end : run.count) - skip);
  *offset = column + skip * s.stride_w;
  *at = run.at + static_cast<int>(skip < run.count ? skip : run.count);
}

void pack_side_by_side(const PixelSource& s, const PixelRun* runs, int run_count, int width, float* panel) {
  const int64_t step = s.taps * width;
  for (int64_t i = 0; i < s.kernel_h; ++i) {
    for (int64_t j = 0; j < s.kernel_w; ++j, panel += width) {
      Pieces pieces;
      int64_t offset;
      int at, count;
      for (int n = 0; n < run_count; ++n) {
        const int64_t row = runs[n].row + i * s.dilation_h;
        if (row < 0 || row >= s.height) continue;
        clip(s, runs[n], j, &offset, &at, &count);
        if (count > 0) pieces.add(at, count, row * s.width + offset);
      }
      if (pieces.most <= 1) {
        pack_pieces<1>(s, pieces, width, panel, step);
      } else if (pieces.most == 2) {
        pack_pieces<2>(s, pieces, width, panel, step);
      } else if (pieces.most <= 4) {
        pack_pieces<4>(s, pieces, width, panel, step);
      } else {
        pack_pieces<kW>(s, pieces, width, panel, step);
      }
    }
  }
}

void pack_pixels(const PixelSource& s, const PixelRun* runs, int run_count, int columns, float* panel) {
  const int width = (columns + kW - 1) / kW * kW;
  if (s.stride_w == 1) return pack_side_by_side(s, runs, run_count, width, panel);
  for (int64_t j = 0; j < s.kernel_w; ++j) {
    // These do not depend on the kernel's row: with few channels finding them takes longer than packing.
    Lanes columns_of[kPanelWidth];
    for (int n = 0; n < run_count; ++n) {
      Lanes& l = columns_of[n];
      clip(s, runs[n], j, &l.offset, &l.at, &l.count);
      const int span = 2 * l.count - 1;
      l.low = first_lanes(span < 0 ? 0 : least(span, kW));
      l.high = first_lanes(span > kW ? span - kW : 0);
      l.all = first_lanes(l.count < 0 ? 0 : l.count);
    }
    for (int64_t i = 0; i < s.kernel_h; ++i) {
      Lanes lanes[kPanelWidth];
      int used = 0, filled = 0;
      for (int n = 0; n < run_count; ++n) {
        const int64_t row = runs[n].row + i * s.dilation_h;
        if (row < 0 || row >= s.height || columns_of[n].count <= 0) continue;
        lanes[used] = columns_of[n];
        lanes[used++].offset += row * s.width;
        filled += columns_of[n].count;
      }
      float* out = panel + (i * s.kernel_w + j) * width;
      const int zeros = filled < width ? width : 0;
      if (s.stride_w == 2) {
        pack_element<2>(s, lanes, used, zeros, out, s.taps * width);
      } else {
        pack_element<0>(s, lanes, used, zeros, out, s.taps * width);
      }
    }
  }
}

void finish(const float* bias, const Epilogue& e, int rows, int64_t columns, float* y, int64_t stride) {
  for (int r = 0; r < rows; r += kW) {
    const Mask mask = first_lanes(least(rows - r, kW));
    const Reg add = bias ? load(bias + r, mask) : zero();
    float* at = y + r;
    for (int64_t c = 0; c < columns; ++c, at += stride) {
      const Reg x = hn::Add(load(at, mask), add);
      store(at, clamp(e, activate(e.activation, x)), mask);
    }
  }
}

void widen_f16(const uint16_t* x, int64_t n, float* y) {
  int64_t i = 0;
  for (; i + kW <= n; i += kW) store(y + i, load_f16(x + i));
  if (i == n) return;
  alignas(64) uint16_t rest[kW] = {};
  memcpy(rest, x + i, static_cast<size_t>(n - i) * sizeof(uint16_t));
  store(y + i, load_f16(rest), first_lanes(static_cast<int>(n - i)));
}

void widen_bf16(const uint16_t* x, int64_t n, float* y) {
  for (int64_t i = 0; i < n; ++i) {
    const uint32_t bits = static_cast<uint32_t>(x[i]) << 16;
    memcpy(y + i, &bits, sizeof(bits));
  }
}

/// The lanes of a piece; S: the stride, or 0 for any.
template <int S>
inline Reg load_piece(const PixelPiece& p, int64_t stride, const float* from) {
  if (S == 1) return load(from, lanes_of_bits(p.low));
  if (S == 2) return even_lanes(load(from, lanes_of_bits(p.low)), load(from + kW, lanes_of_bits(p.high)));
  alignas(64) float lanes[kW] = {};
  for (int i = 0; i < kW; ++i) {
    if (p.lanes >> i & 1) lanes[i] = from[i * stride];
  }
  return load(lanes);
}

template <int S>
inline void copy_pieces(const PixelPiece* pieces, int64_t count, int64_t stride, const float* plane, float* to) {
  for (int64_t i = 0; i < count; ++i) {
    const PixelPiece& p = pieces[i];
    const Reg x = load_piece<S>(p, stride, plane + p.from);
    if (p.first) {
      store(to + p.to, x);
    } else {
      store(to + p.to, x, lanes_of_bits(p.lanes));
    }
  }
}

void make_masks(const uint16_t* lanes, int64_t count, uint8_t* masks) {
  for (int64_t i = 0; i < count; ++i) {
    const Mask mask = lanes_of_bits(lanes[i]);
    memcpy(masks + i * static_cast<int64_t>(sizeof(mask)), &mask, sizeof(mask));
  }
}

void copy_pixels(const PixelPiece* pieces, int64_t count, int64_t stride, const float* plane, float* to) {
  if (stride == 1) return copy_pieces<1>(pieces, count, stride, plane, to);
  if (stride == 2) return copy_pieces<2>(pieces, count, stride, plane, to);
  copy_pieces<0>(pieces, count, stride, plane, to);
}

PanelFunctions of_target() {
  PanelFunctions f;
  f.lanes = kW;
  f.rows = kBlockRows;
  f.multiply = multiply;
  f.pack_rows = pack_rows;
  f.pack_pixels = pack_pixels;
  f.copy_pixels = copy_pixels;
  f.make_masks = make_masks;
  f.mask_bytes = sizeof(Mask);
  f.finish = finish;
  f.widen_f16 = widen_f16;
  f.widen_bf16 = widen_bf16;
  return f;
}

#else

PanelFunctions of_target() { return {}; }

#endif

}  // namespace
}  // namespace etggml::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace etggml::kernels {

HWY_EXPORT(of_target);

PanelFunctions panel_functions() { return HWY_DYNAMIC_DISPATCH(of_target)(); }

}  // namespace etggml::kernels
#endif  // HWY_ONCE
