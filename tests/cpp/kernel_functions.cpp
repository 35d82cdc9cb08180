// The functions of our CPU kernels on every instruction set, each against plain loops. They need no graph, so this runs
// under an emulator of another processor, too.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "check.h"
#include "kernels/panel.h"
#include "kernels/recurrence.h"
#include "kernels/softmax.h"
#include "kernels/window.h"
#include "targets.h"

using namespace etggml::kernels;

namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kUntouched = -77.0f;

using Values = std::vector<float>;

Values noise(int64_t n) {
  static std::mt19937 engine(5);
  std::uniform_real_distribution<float> numbers(-1.0f, 1.0f);
  Values x(static_cast<size_t>(n));
  for (float& e : x) e = numbers(engine);
  return x;
}

/// Errors of rounding are allowed; beyond the last expected element nothing may have been written.
bool close(const Values& got, const std::vector<double>& want, double bound = 2e-6) {
  for (size_t i = 0; i < got.size(); ++i) {
    const double w = i < want.size() ? want[i] : double{kUntouched};
    if (std::isnan(w) != std::isnan(got[i])) return false;
    if (!std::isnan(w) && !(std::fabs(got[i] - w) <= bound * (1.0 + std::fabs(w)))) return false;
  }
  return true;
}

Values untouched(int64_t n) { return Values(static_cast<size_t>(n) + 64, kUntouched); }

void softmax(SoftMaxRow row, int64_t n, bool masked, bool bounds) {
  const Values x = noise(n);
  Values mask = noise(n), y = untouched(n);
  for (int64_t i = 0; i < n; ++i) {
    if (bounds) mask[size_t(i)] = 0;
    if (i % 3 == 0) mask[size_t(i)] = -kInf;
  }
  row(x.data(), masked ? mask.data() : nullptr, bounds, 2.0f, n, y.data());
  std::vector<double> e;
  double sum = 0;
  for (int64_t i = 0; i < n; ++i) {
    e.push_back(std::exp(2.0 * x[size_t(i)] + (masked ? mask[size_t(i)] : 0.0f)));
    sum += e.back();
  }
  for (double& v : e) v = sum == 0 ? 0 : v / sum;
  CHECK(close(y, e));
}

void window(const WindowFunctions& f, int64_t size, int64_t kernel, int64_t stride, int64_t dilation, bool nan) {
  Values image = noise(size * size);
  const Values weights = noise(kernel * kernel);
  if (nan) image[size_t(size + 1)] = NAN;
  WindowPlane p;
  p.image = image.data(), p.height = p.width = size, p.window_h = p.window_w = kernel;
  p.stride_h = p.stride_w = stride, p.dilation_h = p.dilation_w = dilation;
  p.padding_h = p.padding_w = kernel / 2;
  p.out_h = p.out_w = (size + 2 * p.padding_h - (kernel - 1) * dilation - 1) / stride + 1;
  p.kernel = weights.data(), p.bias = 0.25f, p.epilogue.min = -0.5f;
  if (p.out_h <= 0) return;
  std::vector<double> products, most, means;
  for (int64_t y = 0; y < p.out_h; ++y) {
    for (int64_t x = 0; x < p.out_w; ++x) {
      double sum = 0.25, mean = 0, max = -kInf;
      for (int64_t i = 0; i < kernel * kernel; ++i) {
        const int64_t r = y * stride + i / kernel * dilation - p.padding_h;
        const int64_t c = x * stride + i % kernel * dilation - p.padding_w;
        if (r < 0 || r >= size || c < 0 || c >= size) continue;
        const double v = image[size_t(r * size + c)];
        sum += v * weights[size_t(i)];
        mean += v;
        max = std::isnan(v) || v > max ? v : max;  // no later number is > NaN
      }
      products.push_back(sum < -0.5 ? -0.5 : sum);
      most.push_back(max);
      means.push_back(mean / double(kernel * kernel));
    }
  }
  Values y = untouched(p.out_h * p.out_w);
  p.y = y.data();
  f.convolve(p);
  CHECK(close(y, products));
  f.max(p);
  CHECK(close(y, most));
  f.mean(p);
  CHECK(close(y, means));
}

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

void recurrence(const RecurrenceFunctions& f, Cell cell, int64_t hidden, int64_t columns) {
  const int64_t gates = gate_count(cell), units = f.block_units(cell), blocks = (hidden + units - 1) / units;
  const Values w = noise(gates * hidden * hidden), bias = noise(gates * hidden);
  const Values inputs = noise(gates * hidden * columns), before = noise(hidden * columns);
  const Values memory = noise(hidden * columns);
  Values packed(static_cast<size_t>(blocks * units * gates * hidden)), after = untouched(hidden * columns);
  Values kept = untouched(hidden * columns);
  RecurrentLayer layer;
  layer.w = w.data(), layer.bias = bias.data(), layer.hidden = hidden, layer.columns = columns, layer.cell = cell;
  for (int64_t b = 0; b < blocks; ++b) f.pack(layer, b, packed.data() + b * units * gates * hidden);
  layer.w = packed.data();
  RecurrentStep s;
  s.gates = inputs.data(), s.before = before.data(), s.after = after.data();
  s.cell_before = memory.data(), s.cell_after = kept.data();
  f.step(layer, s, 0, blocks);
  std::vector<double> want, cells;
  for (int64_t c = 0; c < columns; ++c) {
    for (int64_t u = 0; u < hidden; ++u) {
      double own[4], in[4], gate[4];
      for (int64_t g = 0; g < gates; ++g) {
        own[g] = bias[size_t(g * hidden + u)];
        for (int64_t k = 0; k < hidden; ++k) {
          own[g] += double(w[size_t((g * hidden + u) * hidden + k)]) * before[size_t(c * hidden + k)];
        }
        in[g] = inputs[size_t((c * gates + g) * hidden + u)];
        gate[g] = own[g] + in[g];
      }
      const size_t at = size_t(c * hidden + u);
      if (cell == Cell::kTanh) want.push_back(std::tanh(gate[0]));
      if (cell == Cell::kRelu) want.push_back(gate[0] > 0 ? gate[0] : 0);
      if (cell == Cell::kLstm) {
        cells.push_back(sigmoid(gate[1]) * memory[at] + sigmoid(gate[0]) * std::tanh(gate[2]));
        want.push_back(sigmoid(gate[3]) * std::tanh(cells.back()));
      }
      if (cell == Cell::kGru) {
        const double update = sigmoid(gate[1]), fresh = std::tanh(in[2] + sigmoid(gate[0]) * own[2]);
        want.push_back(fresh + (before[at] - fresh) * update);
      }
    }
  }
  CHECK(close(after, want));
  CHECK(close(kept, cells));
}

/// One block of rows times columns that are packed here; `form`: 0 straight, 1 with a residual, 2 transposed, 3 adding.
void product(const PanelFunctions& f, int rows, int columns, int64_t k, int form, int tail, bool scattered) {
  const Values w = noise(f.rows * k), x = noise((columns + tail) * k), bias = noise(f.rows);
  const int padded = (columns + f.lanes - 1) / f.lanes * f.lanes;
  Values panel(static_cast<size_t>(padded * k));
  f.pack_rows(x.data(), k, columns, 0, k, panel.data());
  const bool transposed = form >= 2;
  const int64_t stride = transposed ? rows : columns + tail, count = int64_t{rows} * (columns + tail);
  const Values other = noise(count);
  Values y = untouched(count);
  if (form == 3) std::copy(other.begin(), other.end(), y.begin());
  std::vector<PanelRow> at;
  std::vector<uint8_t> masks(static_cast<size_t>(kPanelVectors * f.mask_bytes));
  const uint16_t all[kPanelVectors] = {0xffff, 0xffff, 0xffff};
  f.make_masks(all, kPanelVectors, masks.data());
  for (int64_t i = 0; i < k; ++i) at.push_back({static_cast<int32_t>(i * padded), 0});
  PanelProduct p;
  p.weights = w.data(), p.weight_stride = k, p.rows = rows, p.panel = panel.data(), p.k = k;
  p.columns = columns, p.bias = bias.data(), p.y = y.data(), p.y_stride = stride;
  p.tail = x.data() + columns * k, p.tail_stride = k, p.tail_columns = tail;
  p.transposed = transposed, p.adds = form == 3;
  if (form == 1) p.add = other.data();
  p.epilogue.max = 0.75f;
  p.epilogue.activation = form == 2 ? Activation::kSigmoid : Activation::kNone;
  if (scattered) p.at = at.data(), p.masks = masks.data(), p.period = p.to = k;
  f.multiply(p);
  std::vector<double> want(static_cast<size_t>(count));
  for (int r = 0; r < rows; ++r) {
    for (int c = 0; c < columns + tail; ++c) {
      const size_t to = transposed ? size_t(c * stride + r) : size_t(r * stride + c);
      double sum = bias[size_t(r)] + (form == 1 || form == 3 ? other[to] : 0.0f);
      for (int64_t i = 0; i < k; ++i) sum += double(w[size_t(r * k + i)]) * x[size_t(c * k + i)];
      if (form == 2) sum = sigmoid(sum);
      want[to] = sum > 0.75 ? 0.75 : sum;
    }
  }
  CHECK(close(y, want, 1e-6 * std::sqrt(double(k))));
}

/// Patches of a small image, of kernels that reach over its sides.
void patches(const PanelFunctions& f, int64_t stride) {
  constexpr int64_t kSize = 7, kKernel = 3;
  const Values image = noise(2 * kSize * kSize);
  PixelSource s;
  s.image = image.data(), s.channels = 2, s.height = s.width = kSize, s.plane_stride = kSize * kSize;
  s.taps = kKernel * kKernel, s.kernel_h = s.kernel_w = kKernel, s.stride_w = stride;
  s.dilation_h = s.dilation_w = 1;
  const int columns = kPanelVectors * f.lanes - 1, padded = columns + 1;
  const int64_t line = (kSize + 2 - kKernel) / stride + 1;
  std::vector<PixelRun> runs;
  for (int c = 0; c < columns;) {
    const int64_t x = c % line;
    const int n = int(std::min<int64_t>(line - x, std::min<int64_t>(f.lanes, columns - c)));
    runs.push_back({c, n, static_cast<int32_t>(c / line * stride - 1), static_cast<int32_t>(x * stride - 1)});
    c += n;
  }
  Values panel = untouched(18 * padded);
  f.pack_pixels(s, runs.data(), int(runs.size()), columns, panel.data());
  bool right = true;
  for (int64_t i = 0; i < 18; ++i) {
    for (int c = 0; c < columns; ++c) {
      const int64_t y = c / line * stride - 1 + i % 9 / 3, x = c % line * stride - 1 + i % 3;
      const bool inside = y >= 0 && y < kSize && x >= 0 && x < kSize;
      const float want = inside ? image[size_t(i / 9 * kSize * kSize + y * kSize + x)] : 0.0f;
      right &= panel[size_t(i * padded + c)] == want;
    }
  }
  CHECK(right);
}

/// Two lines share a register: the second piece keeps the lanes of the first.
void pieces(const PanelFunctions& f, int64_t stride) {
  const Values x = noise(64);
  const int half = f.lanes / 2;
  const auto lanes = [&](int from, int to) { return ((1u << to) - 1) & ~((1u << from) - 1); };
  const auto piece = [&](int from, int low, int high, bool first) {
    PixelPiece p;
    p.from = from, p.to = 0, p.first = first;
    p.lanes = p.low = uint16_t(lanes(low, high));
    uint32_t elements = 0;
    for (int i = low; i < high; ++i) elements |= 1u << (2 * i);
    if (stride == 2) p.low = uint16_t(elements & lanes(0, f.lanes)), p.high = uint16_t(elements >> f.lanes);
    return p;
  };
  const PixelPiece both[2] = {piece(1, 0, half, true), piece(20, half, f.lanes - 1, false)};
  Values y = untouched(f.lanes);
  f.copy_pixels(both, 2, stride, x.data(), y.data());
  std::vector<double> want;
  for (int i = 0; i < f.lanes; ++i) {
    want.push_back(i == f.lanes - 1 ? 0 : x[size_t((i < half ? 1 : 20) + i * stride)]);
  }
  CHECK(close(y, want, 0));
}

void rows_of_numbers(const PanelFunctions& f) {
  for (int64_t n : {1, 3, 4, 7, 16, 37}) {
    std::vector<uint16_t> f16, bf16;
    std::vector<double> want16, want_b;
    for (float v : noise(n)) {
      uint32_t bits;
      std::memcpy(&bits, &v, sizeof(bits));
      bf16.push_back(uint16_t(bits >> 16));
      bits &= 0xffff0000u;
      std::memcpy(&v, &bits, sizeof(v));
      want_b.push_back(v);
      const hwy::float16_t half = hwy::F16FromF32(v);
      f16.push_back(hwy::BitCastScalar<uint16_t>(half));
      want16.push_back(hwy::F32FromF16(half));
    }
    Values y = untouched(n);
    f.widen_f16(f16.data(), n, y.data());
    CHECK(close(y, want16, 0));
    f.widen_bf16(bf16.data(), n, y.data());
    CHECK(close(y, want_b, 0));
    const Values bias = noise(n), before = noise(2 * n);
    Values z = untouched(2 * n);
    std::copy(before.begin(), before.end(), z.begin());
    Epilogue silu;
    silu.activation = Activation::kSilu;
    f.finish(bias.data(), silu, int(n), 2, z.data(), n);
    std::vector<double> want;
    for (int64_t i = 0; i < 2 * n; ++i) {
      const double v = double(before[size_t(i)]) + bias[size_t(i % n)];
      want.push_back(v * sigmoid(v));
    }
    CHECK(close(z, want));
  }
}

void products(const PanelFunctions& f) {
  const int width = kPanelVectors * f.lanes;
  for (int form : {0, 1, 2, 3}) {
    for (int columns = 1; columns <= width; columns += columns < 6 ? 1 : 5)
      product(f, f.rows, columns, 37, form, 0, false);
    for (int rows = 1; rows <= f.rows; ++rows) product(f, rows, width, 21, form, 0, rows % 2 == 0);
    const int tail = tail_columns(width + kPanelTail, width, 131);
    for (int t = 1; t <= tail; ++t) product(f, f.rows - 1, width, 131, form, t, false);
  }
}

}  // namespace

int main() {
  int tried = 0;
  on_each_target([&](const char* name) {
    std::printf("%s\n", name);
    const SoftMaxRow row = soft_max_row();
    for (int64_t n : {1, 3, 4, 5, 16, 33, 1000}) {
      softmax(row, n, false, false);
      softmax(row, n, true, false);
      softmax(row, n, true, true);
    }
    if (!panel_functions().multiply) return;
    ++tried;
    for (int64_t size : {3, 5, 9, 23}) {
      for (int64_t kernel : {1, 2, 3, 5}) {
        for (int64_t stride : {1, 2, 3})
          window(window_functions(), size, kernel, stride, 1 + (size + stride) % 2, false);
      }
      window(window_functions(), size, 3, 1, 1, true);
    }
    for (Cell cell : {Cell::kTanh, Cell::kRelu, Cell::kLstm, Cell::kGru}) {
      for (int64_t hidden : {1, 5, 16, 37}) {
        for (int64_t columns = 1; columns < 8; ++columns) recurrence(recurrence_functions(), cell, hidden, columns);
      }
    }
    products(panel_functions());
    for (int64_t stride : {1, 2, 3}) patches(panel_functions(), stride);
    for (int64_t stride : {1, 2, 3}) pieces(panel_functions(), stride);
    rows_of_numbers(panel_functions());
  });
  return failures() != 0 ? 1 : tried == 0 ? 77 : 0;
}
