#include "kernels/conv_bands_plan.h"

#include <algorithm>

namespace etggml::kernels {
namespace {

class Planner {
 public:
  Planner(const DenseConv& conv, PixelPiece* pieces) : c_(conv), pieces_(pieces) {}

  int64_t count() const { return count_; }

  /// Lines from that row of the source on, a stride apart, each from `column` on, `size` pixels in all.
  void add(int64_t to, int64_t size, int64_t row, int64_t column) {
    for (int64_t at = 0; at < size; at += c_.f.lanes) {
      begin(to + at, true);
      for (int64_t lane = 0; lane < c_.f.lanes && at + lane < size;) {
        const int64_t pixel = (at + lane) % c_.line, end = std::min<int64_t>(c_.f.lanes, lane + c_.line - pixel);
        const int64_t source = row + (at + lane) / c_.line * c_.stride[1];
        if (source >= 0 && source < c_.height) run(source, column + pixel * c_.stride[0], lane, end);
        lane = end;
      }
      ++count_;
    }
  }

 private:
  void begin(int64_t to, bool first) {
    PixelPiece& p = pieces_[count_] = PixelPiece();
    p.to = static_cast<int32_t>(to);
    p.first = first;
  }

  /// Lanes [lane, end) have the pixels of a row from that column on.
  void run(int64_t row, int64_t column, int64_t lane, int64_t end) {
    const int64_t stride = c_.stride[0], room = c_.width - column;  // room for the lanes from the first on
    const int64_t skip = column < 0 ? (-column + stride - 1) / stride : 0;
    const int64_t inside = std::min(end - lane, room > 0 ? (room + stride - 1) / stride : 0);
    if (skip >= inside) return;
    const int64_t from = row * c_.width + column - lane * stride;
    if (pieces_[count_].lanes != 0 && pieces_[count_].from != from) {
      const int32_t to = pieces_[count_].to;
      ++count_;
      begin(to, false);
    }
    PixelPiece& p = pieces_[count_];
    p.from = static_cast<int32_t>(from);
    p.lanes = static_cast<uint16_t>(p.lanes | ((1u << (lane + inside)) - (1u << (lane + skip))));
    p.low = p.lanes;
    if (stride != 2) return;
    uint32_t elements = 0;
    for (int i = 0; i < c_.f.lanes; ++i) elements |= (p.lanes >> i & 1u) << (2 * i);
    p.low = static_cast<uint16_t>(elements & ((1u << c_.f.lanes) - 1));
    p.high = static_cast<uint16_t>(elements >> c_.f.lanes);
  }

  const DenseConv& c_;
  PixelPiece* pieces_;
  int64_t count_ = 0;
};

}  // namespace

// A register takes one piece, and one more for each line that begins in it.
int64_t most_pieces(const Bands& b) { return b.copies * b.phases * (b.part / b.conv.f.lanes + b.lines); }

int64_t plan_pieces(const Bands& b, int64_t first, PixelPiece* pieces) {
  const DenseConv& c = b.conv;
  Planner planner(c, pieces);
  for (int64_t copy = 0; copy < b.copies; ++copy) {
    for (int64_t phase = 0; phase < b.phases; ++phase) {
      planner.add((copy * b.phases + phase) * b.part, b.lines * c.line, first * c.stride[1] + phase - c.padding[1],
                  b.first_column(copy));
    }
  }
  return planner.count();
}

uint16_t lanes_inside(const Bands& b, int64_t pixel, int64_t column) {
  if (!b.masked) return UINT16_MAX;
  const DenseConv& c = b.conv;
  uint32_t lanes = 0;
  int64_t at = (pixel % c.line) * c.stride[0] + column * c.dilation[0] - c.padding[0];
  for (int i = 0; i < c.f.lanes; ++i, at += c.stride[0]) {
    if (pixel + i >= c.pixels) break;
    if ((pixel + i) % c.line == 0) at = column * c.dilation[0] - c.padding[0];
    if (at >= 0 && at < c.width) lanes |= 1u << i;
  }
  return static_cast<uint16_t>(lanes);
}

}  // namespace etggml::kernels
