#include <algorithm>

#include "kernels/conv_dense.h"
#include "kernels/custom_op.h"
#include "kernels/stopping.h"
#include "kernels/thread_memory.h"

namespace etggml::kernels {
namespace {

// Pieces of work for each thread, where pieces can be small: enough to even out a thread that is held up.
constexpr int64_t kShares = 8;

struct Patches;

/// The taps of one depth: `image` has the plane that they meet, of the first channel.
void pack_plane(const DenseConv& c, const float* image, int64_t pixel, int columns, float* out) {
  PixelSource s;
  s.image = image;
  s.channels = c.channels, s.height = c.height, s.width = c.width;
  s.plane_stride = c.depth * c.source_plane();
  s.taps = c.kernel_d * c.kernel_h * c.kernel_w;
  s.kernel_h = c.kernel_h, s.kernel_w = c.kernel_w;
  s.stride_w = c.stride[0], s.dilation_h = c.dilation[1], s.dilation_w = c.dilation[0];
  int64_t line = c.line;
  if (c.kernel_w == 1 && c.kernel_h == 1 && c.stride[0] == 1 && c.stride[1] == 1 && c.padding[0] == 0 &&
      c.padding[1] == 0 && s.width <= INT32_MAX / s.height) {  // pixel by pixel: lines do not matter
    s.width *= s.height, s.height = 1;
    line = s.width;
  }
  PixelRun runs[kPanelVectors * 16];
  int count = 0;
  for (int at = 0; at < columns;) {
    const int64_t row = pixel / line, column = pixel % line;
    // With stride 1 runs of any length, else of a register.
    const int64_t most = c.stride[0] == 1 ? columns - at : std::min<int64_t>(c.f.lanes, columns - at);
    const int run = static_cast<int>(std::min<int64_t>(most, line - column));
    runs[count++] = {at, run, static_cast<int32_t>(row * c.stride[1] - c.padding[1]),
                     static_cast<int32_t>(column * c.stride[0] - c.padding[0])};
    at += run;
    pixel += run;
  }
  c.f.pack_pixels(s, runs, count, columns, out);
}

void pack(const DenseConv& c, int64_t image, int64_t pixel, int columns, float* out) {
  const int64_t taps = c.kernel_h * c.kernel_w, panel_row = (columns + c.f.lanes - 1) / c.f.lanes * c.f.lanes;
  for (int64_t tap = 0; tap < c.kernel_d; ++tap, out += taps * panel_row) {
    const int64_t at = image % c.planes * c.stride[2] + tap * c.dilation[2] - c.padding[2];
    if (at >= 0 && at < c.depth) {
      pack_plane(c, c.source(image / c.planes, at), pixel, columns, out);
      continue;
    }
    for (int64_t i = 0; i < c.channels; ++i)
      std::fill_n(out + i * c.kernel_d * taps * panel_row, taps * panel_row, 0.0f);
  }
}

/// Patches of panel `panel`, and of the tail where it follows.
void pack_panel(const DenseConv& c, int64_t image, int64_t panel, float* out) {
  const int64_t pixel = panel * c.panel_width, tail = c.tail_of(pixel);
  pack(c, image, pixel, c.columns(pixel), out);
  if (tail == 0) return;
  float *columns = out + c.k * c.panel_width, *packed = columns + c.k * kPanelTail;
  pack(c, image, c.pixels - tail, static_cast<int>(tail), packed);
  for (int64_t i = 0; i < c.k; ++i) {
    for (int64_t j = 0; j < tail; ++j) columns[j * c.k + i] = packed[i * c.f.lanes + j];
  }
}

}  // namespace

void convolve_patches(const DenseConv& c, ggml_tensor* y, int thread, int threads) {
  const int64_t panels = c.panels * c.planes * c.volumes;
  const int64_t memory = c.k * (c.panel_width + (c.tail > 0 ? c.f.lanes + kPanelTail : 0));
  auto* packed = reinterpret_cast<float*>(thread_memory<Patches>(static_cast<size_t>(memory) * sizeof(float)));
  // Threads share out the panels; where those are too few for even shares, pieces of the kernels, too, and each packs
  // the panels that it meets.
  const int64_t most = (panels + threads - 1) / threads;
  const bool by_kernels = c.blocks >= threads && most * threads * 8 > panels * 9;
  const int64_t pieces = by_kernels ? std::min<int64_t>(c.blocks, threads * kShares) : 1;
  Tickets<ConvParams> tickets(y, panels * pieces, thread, threads);
  int64_t last = -1;
  for (int64_t i = tickets.take(); i < panels * pieces; i = tickets.take()) {
    const int64_t image = i / pieces / c.panels, panel = i / pieces % c.panels, piece = i % pieces;
    if (i / pieces != last) pack_panel(c, image, panel, packed);
    last = i / pieces;
    for (int64_t block = c.blocks * piece / pieces; block < c.blocks * (piece + 1) / pieces; ++block) {
      if (stopped(y, thread)) return;
      PanelProduct p = c.product(c.weights(block), block, image / c.planes, image % c.planes, panel * c.panel_width);
      p.panel = packed;
      p.tail = packed + c.k * c.panel_width;
      c.f.multiply(p);
    }
  }
}

}  // namespace etggml::kernels
