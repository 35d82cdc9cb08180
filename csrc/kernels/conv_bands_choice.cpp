// Whether and how a dense convolution is cut into bands.
#include <algorithm>
#include <cstdint>

#include "kernels/conv_bands.h"

namespace etggml::kernels {
namespace {

// Bytes of the blocks that a thread works on: they stay in its second-level cache beside the kernels.
constexpr int64_t kBlockBytes = 512 << 10;
// However few panels a band has.
constexpr int64_t kMostBytes = 8 << 20;
// Pieces of work for each thread, at least.
constexpr int64_t kShares = 4;
// Measured on AVX-512, where masks cost nothing, and on AVX2, where each is a load and an operation more.
struct Costs {
  double pack;    // the time to pack a register over that of a register's fused multiplication
  double masked;  // of a product with panels in blocks over that of one with packed panels
};
Costs costs(const DenseConv& c) { return c.f.lanes == 16 ? Costs{6.0, 1.0} : Costs{3.0, 1.15}; }

/// In multiplications of a register.
double product_time(const DenseConv& c) {
  const int64_t registers = (c.pixels - c.tail + c.f.lanes - 1) / c.f.lanes;
  return double(c.planes) * double(c.volumes) * double(c.k) * double((c.rows + 7) / 8 * 8) *
         (double(registers) + double(c.tail) / c.f.lanes);
}

double patches_time(const DenseConv& c) {
  return double(c.planes) * double(c.volumes) * double(c.k) * double(c.pixels) / c.f.lanes * costs(c).pack;
}

double bands_time(const Bands& b) {
  const DenseConv& c = b.conv;
  // Source planes that a chunk meets.
  const int64_t planes = (c.planes + b.chunks - 1) / b.chunks;
  const int64_t reach = (c.kernel_d - 1) * c.dilation[2] + 1;
  const int64_t met = std::min({c.depth, planes * c.kernel_d, (planes - 1) * c.stride[2] + reach});
  return double(c.volumes) * double(b.count) * double(b.chunks) * double(met) * double(b.block()) / c.f.lanes *
         costs(c).pack;
}

/// Lines that the kernels of a band reach below its own, in each phase.
int64_t reach(const DenseConv& c) { return (c.kernel_h - 1) * c.dilation[1] / c.stride[1]; }

void set_panels(Bands& b, int64_t panels) {
  const DenseConv& c = b.conv;
  b.count = (c.panels + panels - 1) / panels;
  b.panels = (c.panels + b.count - 1) / b.count;
  const int64_t most = b.panels * c.panel_width + c.tail;
  b.lines = std::min(c.lines, (most + c.line - 2) / c.line + 1) + reach(c);
  b.part = (b.lines * c.line + c.f.lanes - 1) / c.f.lanes * c.f.lanes;
  b.channel = b.copies * b.phases * b.part;
}

int64_t bytes(const Bands& b) { return b.memory() * static_cast<int64_t>(sizeof(float)); }

void set_copies(Bands& b) {
  const DenseConv& c = b.conv;
  b.phases = std::min(c.stride[1], (c.kernel_h - 1) * c.dilation[1] + 1);
  b.masked = c.kernel_w > 1 && c.stride[0] <= 2 && (c.width + c.stride[0] - 1) / c.stride[0] <= c.line;
  b.copies = b.masked ? c.stride[0] : c.kernel_w;
}

/// False where the blocks of a single panel are too large.
bool cut(Bands& b, int threads) {
  const DenseConv& c = b.conv;
  set_copies(b);
  int64_t panels = c.panels;
  for (set_panels(b, panels); b.panels > 1 && bytes(b) > kBlockBytes; set_panels(b, panels)) panels = b.panels - 1;
  if (bytes(b) > kMostBytes) return false;
  if (threads == 1) return true;
  const int64_t pieces = kShares * threads, longest = std::max<int64_t>(1, c.planes / (2 * c.kernel_d));
  b.chunks = std::max<int64_t>(1, std::min(longest, (pieces + c.volumes * b.count - 1) / (c.volumes * b.count)));
  for (; b.panels > 1 && c.volumes * b.count * b.chunks < pieces; set_panels(b, panels)) panels = b.panels - 1;
  return c.volumes * b.count * b.chunks >= pieces;
}

}  // namespace

int64_t Bands::copy_of(int64_t column) const {
  if (!masked) return column;
  const int64_t from = column * conv.dilation[0] - conv.padding[0];
  return (from % copies + copies) % copies;
}

int64_t Bands::shift_of(int64_t column) const {
  if (!masked) return 0;
  return (column * conv.dilation[0] - conv.padding[0] - copy_of(column)) / copies;
}

int64_t Bands::first_column(int64_t copy) const { return masked ? copy : copy * conv.dilation[0] - conv.padding[0]; }

int64_t Bands::margin() const {
  const int64_t most = conv.panel_width + (conv.kernel_w - 1) * conv.dilation[0] + conv.padding[0];
  return (most + conv.f.lanes - 1) / conv.f.lanes * conv.f.lanes;
}

int64_t Bands::memory() const {
  return conv.kernel_d * block() + 2 * margin() + (conv.tail > 0 ? conv.k * kPanelTail : 0);
}

std::optional<Bands> bands_of(const DenseConv& conv, int threads) {
  if (conv.kernel_d * conv.kernel_h == 1 || conv.height > INT32_MAX / 4 / conv.width) return std::nullopt;
  double least = product_time(conv) + patches_time(conv);
  std::optional<Bands> best;
  const auto consider = [&](const DenseConv& c) {
    Bands b{c};
    if (!cut(b, threads)) return;
    const double time = product_time(c) * costs(c).masked + bands_time(b);
    if (time < least) least = time, best.emplace(b);
  };
  consider(conv);
  if (conv.depth == 1 && conv.kernel_d == 1 && conv.planes == 1 && conv.kernel_h > 1) consider(conv.rows_as_planes());
  return best;
}

}  // namespace etggml::kernels
