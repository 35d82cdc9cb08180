#include "kernels/conv_bands.h"

#include <algorithm>

#include "kernels/conv_bands_plan.h"
#include "kernels/custom_op.h"
#include "kernels/stopping.h"
#include "kernels/thread_memory.h"

namespace etggml::kernels {
namespace {

struct Blocks;
struct Plan;
struct Places;
struct Masks;

/// Prefetches the next data to pack, piece by piece, while the product runs. The planes of channels are pages apart, so
/// the processor does not foresee them.
class Ahead {
 public:
  /// Some lines of neighbouring planes, of every channel, in about `steps` steps.
  void set(const DenseConv& c, const float* from, int64_t floats, int64_t planes, int64_t steps) {
    from_ = from, floats_ = floats, planes_ = planes;
    plane_ = c.source_plane(), channel_ = c.depth * plane_;
    left_ = c.channels;
    each_ = (c.channels + steps - 1) / steps;
  }
  void step() {  // into the nearest cache: lines that stay there are packed from it
    for (int64_t n = std::min(each_, left_); n > 0; --n, --left_, from_ += channel_) {
      for (int64_t plane = 0; plane < planes_; ++plane) {
        for (int64_t i = 0; i < floats_; i += kLine) __builtin_prefetch(from_ + plane * plane_ + i, 0, 3);
      }
    }
  }

 private:
  static constexpr int64_t kLine = 64 / sizeof(float);
  const float* from_ = nullptr;
  int64_t floats_ = 0, planes_ = 0, plane_ = 0, channel_ = 0, left_ = 0, each_ = 0;
};

/// One thread's part of one band.
class Worker {
 public:
  Worker(const Bands& bands, const ggml_tensor* y, int thread)
      : y_(y),
        thread_(thread),
        b_(bands),
        c_(bands.conv),
        memory_(memory<Blocks, float>(bands.memory())),
        blocks_(memory_ + bands.margin()),
        pieces_(memory<Plan, PixelPiece>(most_pieces(bands))),
        masks_(memory<Masks, uint8_t>(bands.panels * masks_size())),
        at_(memory<Places, PanelRow>(c_.k + c_.kernel_h * c_.kernel_w + c_.kernel_d)),
        in_channel_(at_ + c_.k),
        taps_(reinterpret_cast<Tap*>(in_channel_ + c_.kernel_h * c_.kernel_w)) {
    place_in_channel();
  }

  void compute(int64_t volume, int64_t band, int64_t first_plane, int64_t last_plane) {
    first_pixel_ = c_.panels * band / b_.count * c_.panel_width;
    last_pixel_ = std::min(c_.pixels - c_.tail, c_.panels * (band + 1) / b_.count * c_.panel_width);
    first_line_ = first_pixel_ / c_.line;
    piece_count_ = plan_pieces(b_, first_line_, pieces_);
    for (int64_t pixel = first_pixel_; pixel < last_pixel_; pixel += c_.panel_width) {
      for (int64_t column = 0; column < (b_.masked ? c_.kernel_w : 1); ++column) make_masks(pixel, column);
    }
    for (int64_t i = 0; i < c_.kernel_d; ++i) taps_[i].held = -1;
    // Neighbours that a dilation keeps apart meet no plane together.
    const int64_t step = c_.stride[2] == 1 ? c_.dilation[2] : 1;
    for (int64_t start = first_plane; start < std::min(first_plane + step, last_plane); ++start) {
      for (int64_t plane = start; plane < last_plane && !stopped(y_, thread_); plane += step)
        compute_plane(volume, plane, step);
    }
  }

 private:
  struct Tap {
    int32_t held;   // the source plane that the block of this number has
    int32_t block;  // the block with the pixels that this tap meets
  };
  static_assert(sizeof(Tap) == sizeof(PanelRow), "they share memory");

  template <class Tag, class T>
  static T* memory(int64_t count) {
    return reinterpret_cast<T*>(thread_memory<Tag>(static_cast<size_t>(count) * sizeof(T)));
  }

  int64_t mask_row() const { return kPanelVectors * c_.f.mask_bytes; }
  int64_t masks_size() const { return (b_.masked ? c_.kernel_w : 1) * mask_row(); }

  void make_masks(int64_t pixel, int64_t column) {
    uint16_t lanes[kPanelVectors];
    for (int v = 0; v < kPanelVectors; ++v) lanes[v] = lanes_inside(b_, pixel + v * c_.f.lanes, column);
    c_.f.make_masks(lanes, kPanelVectors,
                    masks_ + (pixel - first_pixel_) / c_.panel_width * masks_size() + column * mask_row());
  }

  void compute_plane(int64_t volume, int64_t plane, int64_t step) {
    // Taps of the depth that meet a plane of the source.
    const int64_t top = plane * c_.stride[2] - c_.padding[2], apart = c_.dilation[2];
    const int64_t from = std::min(c_.kernel_d, top < 0 ? (-top + apart - 1) / apart : 0);
    const int64_t to = std::max(from, std::min(c_.kernel_d, top < c_.depth ? (c_.depth - top - 1) / apart + 1 : 0));
    for (int64_t tap = from; tap < to; ++tap)
      taps_[tap].block = block_of(volume, top + tap * apart, top + from * apart, top + (to - 1) * apart);
    place(from, to);
    const int64_t taps = c_.kernel_h * c_.kernel_w;
    float* tail = blocks_ + c_.kernel_d * b_.block() + b_.margin();
    if (c_.tail > 0 && last_pixel_ == c_.pixels - c_.tail) gather_tail(from * taps, to * taps, tail);
    Ahead ahead = ahead_of(volume, (plane + step) * c_.stride[2] - c_.padding[2]);
    for (int64_t block = 0; block < c_.blocks; ++block) {
      if (stopped(y_, thread_)) return;
      const float* weights = c_.weights(block);
      const uint8_t* masks = masks_;
      for (int64_t pixel = first_pixel_; pixel < last_pixel_; pixel += c_.panel_width, masks += masks_size()) {
        PanelProduct p = c_.product(weights, block, volume, plane, pixel);
        p.panel = blocks_ + pixel - first_line_ * c_.line;
        p.tail = tail;
        p.at = at_;
        p.masks = masks;
        p.period = c_.k, p.from = 0, p.to = c_.k;
        if (to - from < c_.kernel_d) p.period = c_.kernel_d * taps, p.from = from * taps, p.to = to * taps;
        ahead.step();
        c_.f.multiply(p);
      }
    }
  }

  /// Where the copy of a source plane is; made now if there is none, in the place of one outside [first, last].
  int32_t block_of(int64_t volume, int64_t source, int64_t first, int64_t last) {
    int32_t free = 0;
    for (int32_t i = 0; i < c_.kernel_d; ++i) {
      const int32_t held = taps_[i].held;
      if (held == source) return i;
      if (held < first || held > last || (held - first) % c_.dilation[2] != 0) free = i;
    }
    taps_[free].held = static_cast<int32_t>(source);
    const float* plane = c_.source(volume, source);
    float* to = blocks_ + free * b_.block();
    for (int64_t i = 0; i < c_.channels; ++i, plane += c_.depth * c_.source_plane(), to += b_.channel)
      c_.f.copy_pixels(pieces_, piece_count_, c_.stride[0], plane, to);
    return free;
  }

  /// The band's lines of the planes that the next one is the first to meet; its first tap meets plane `top`.
  Ahead ahead_of(int64_t volume, int64_t top) const {
    Ahead ahead;
    const int64_t last = top + (c_.kernel_d - 1) * c_.dilation[2];
    const int64_t fresh = c_.dilation[2] == 1 ? std::min(c_.stride[2], c_.kernel_d) : 1;
    const int64_t plane = std::max<int64_t>(0, last - fresh + 1), planes = std::min(last + 1, c_.depth) - plane;
    const int64_t first = std::max<int64_t>(0, first_line_ * c_.stride[1] - c_.padding[1]);
    const int64_t end = std::min(c_.height, (first_line_ + b_.lines) * c_.stride[1] - c_.padding[1]);
    if (planes <= 0 || end <= first) return ahead;
    const int64_t panels = (last_pixel_ - first_pixel_ + c_.panel_width - 1) / c_.panel_width;
    ahead.set(c_, c_.source(volume, plane) + first * c_.width, (end - first) * c_.width, planes, c_.blocks * panels);
    return ahead;
  }

  /// Where each element of the kernel finds the first pixel of the band's first line, for taps [from, to) of the depth.
  void place(int64_t from, int64_t to) {
    const int64_t taps = c_.kernel_h * c_.kernel_w;
    for (int64_t channel = 0; channel < c_.channels; ++channel) {
      for (int64_t tap = from; tap < to; ++tap) {
        PanelRow* rows = at_ + (channel * c_.kernel_d + tap) * taps;
        const auto base = static_cast<int32_t>(taps_[tap].block * b_.block() + channel * b_.channel);
        for (int64_t i = 0; i < taps; ++i) rows[i] = {base + in_channel_[i].at, in_channel_[i].mask};
      }
    }
  }

  /// The same in the first channel of the first block, for any band.
  void place_in_channel() {
    PanelRow* row = in_channel_;
    for (int64_t i = 0; i < c_.kernel_h; ++i) {
      const int64_t below = i * c_.dilation[1];
      const int64_t line = below % c_.stride[1] * b_.part + below / c_.stride[1] * c_.line;
      for (int64_t j = 0; j < c_.kernel_w; ++j, ++row) {
        row->at = static_cast<int32_t>(line + b_.copy_of(j) * b_.phases * b_.part + b_.shift_of(j));
        row->mask = static_cast<int32_t>(b_.masked ? j * mask_row() : 0);
      }
    }
  }

  /// The tail's columns; of each channel's elements those in [from, to) meet something.
  void gather_tail(int64_t from, int64_t to, float* tail) {
    const int64_t period = c_.k / c_.channels;
    const float* pixels = blocks_ + last_pixel_ - first_line_ * c_.line;
    for (int64_t tap = 0; tap < period; ++tap) {
      const bool inside = tap >= from && tap < to;
      const uint32_t lanes = inside ? lanes_inside(b_, last_pixel_, tap % c_.kernel_w) : 0;
      for (int64_t i = tap; i < c_.k; i += period) {
        for (int64_t j = 0; j < c_.tail; ++j) tail[j * c_.k + i] = lanes >> j & 1 ? pixels[at_[i].at + j] : 0.0f;
      }
    }
  }

  const ggml_tensor* y_;  // asked whether the call is to end
  int thread_;
  const Bands& b_;
  const DenseConv& c_;
  float* memory_;
  float* blocks_;  // one for each tap of the depth
  PixelPiece* pieces_;
  uint8_t* masks_;  // of each panel, for each column of the kernel
  PanelRow *at_, *in_channel_;
  Tap* taps_;
  int64_t first_pixel_ = 0, last_pixel_ = 0, first_line_ = 0, piece_count_ = 0;
};

}  // namespace

void convolve_bands(const Bands& b, ggml_tensor* y, int thread, int threads) {
  Worker worker(b, y, thread);
  const int64_t planes = b.conv.planes, count = b.conv.volumes * b.count * b.chunks;
  Tickets<ConvParams> tickets(y, count, thread, threads);
  for (int64_t i = tickets.take(); i < count; i = tickets.take()) {
    const int64_t chunk = i % b.chunks, band = i / b.chunks % b.count, volume = i / b.chunks / b.count;
    worker.compute(volume, band, planes * chunk / b.chunks, planes * (chunk + 1) / b.chunks);
  }
}

}  // namespace etggml::kernels
