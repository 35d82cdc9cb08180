#include "graph/kernels/conv.h"

#include <algorithm>
#include <cstring>
#include <iterator>
#include <limits>

#include "graph/kernels/custom_op.h"
#include "graph/kernels/float_rows.h"
#include "graph/kernels/host_matrix.h"
#include "graph/kernels/kernel_guard.h"
#include "graph/kernels/thread_memory.h"

namespace etggml::graph {
namespace {

// Every thread keeps memory for one panel; far beyond the kernels of any model.
constexpr int64_t kMaxPanelBytes = 64 << 20;

// Pieces of work for each thread, where pieces can be small: enough to even out a thread that is held up.
constexpr int64_t kShares = 8;

// Rows of a band of channel planes, at least.
constexpr int64_t kBandRows = 7;

// Blocks of kernels between two looks at whether the call is to end.
constexpr int64_t kBlocksBetween = 8;

struct Patches;
struct WidenedKernels;

/// The part of ConvArgs and Conv3dArgs that does not follow from the tensors, in the room that a node has.
struct Params {
  uint8_t stride[3] = {1, 1, 1}, padding[3] = {0, 0, 0}, dilation[3] = {1, 1, 1};  // width, height, depth
  uint8_t activation = 0;
  uint16_t channels = 0;  // of a volume; 0: an image
  float min, max;

  void set(const Epilogue& e) {
    activation = static_cast<uint8_t>(e.activation);
    min = e.min;
    max = e.max;
  }
  Epilogue epilogue() const { return {static_cast<Activation>(activation), min, max}; }
};

template <int N, int Room>
bool small(const int (&values)[N], uint8_t (&out)[Room]) {
  static_assert(N <= Room);
  for (int i = 0; i < N; ++i) {
    if (values[i] < 0 || values[i] > std::numeric_limits<uint8_t>::max()) return false;
    out[i] = static_cast<uint8_t>(values[i]);
  }
  return true;
}

/// One convolution as a product: rows are kernels, columns pixels. A volume is taken plane by plane of the result: the
/// taps along its depth read the channels of different planes.
struct Product {
  const PanelFunctions& f;
  const ggml_tensor *w, *x, *y;
  Params params;
  int64_t channels, depth, taps_deep, planes, images;  // planes: of one channel of the result; images: of all results
  int64_t k, rows, pixels, width, panels, blocks;      // panels per image
  int tail;                                            // pixels that go with the last of them

  Product(const PanelFunctions& functions, const ggml_tensor* result)
      : f(functions), w(result->src[0]), x(result->src[1]), y(result), params(custom_op_params<Params>(result)) {
    const bool volume = params.channels > 0;
    channels = volume ? params.channels : x->ne[2];
    depth = volume ? x->ne[2] : 1;
    taps_deep = volume ? w->ne[2] : 1;
    planes = volume ? y->ne[2] : 1;
    images = planes * x->ne[3] / (volume ? channels : 1);
    k = w->ne[0] * w->ne[1] * taps_deep * channels;
    rows = volume ? w->ne[3] / channels : w->ne[3];
    pixels = y->ne[0] * y->ne[1];
    width = kPanelVectors * f.lanes;
    tail = tail_columns(pixels, width, k);
    panels = (pixels - tail + width - 1) / width;
    blocks = (rows + f.lanes - 1) / f.lanes;
  }

  /// Floats that panel() needs.
  int64_t memory() const { return k * (width + (tail > 0 ? f.lanes + kPanelTail : 0)); }

  void pack(int64_t image, int64_t pixel, int columns, float* out) const {
    const int64_t plane = x->ne[0] * x->ne[1], taps = w->ne[0] * w->ne[1];
    const int64_t panel_row = (columns + f.lanes - 1) / f.lanes * f.lanes;
    const auto* volume = static_cast<const float*>(x->data) + image / planes * channels * depth * plane;
    for (int64_t tap = 0; tap < taps_deep; ++tap, out += taps * panel_row) {
      const int64_t at = image % planes * params.stride[2] + tap * params.dilation[2] - params.padding[2];
      if (at >= 0 && at < depth) {
        pack_plane(volume + at * plane, pixel, columns, out);
        continue;
      }
      for (int64_t c = 0; c < channels; ++c)
        std::fill_n(out + c * taps_deep * taps * panel_row, taps * panel_row, 0.0f);
    }
  }

  /// The taps of one depth: `image` has the plane that they meet, of the first channel.
  void pack_plane(const float* image, int64_t pixel, int columns, float* out) const {
    PixelSource s;
    s.image = image;
    s.channels = channels, s.height = x->ne[1], s.width = x->ne[0];
    s.plane_stride = depth * s.height * s.width;
    s.taps = taps_deep * w->ne[0] * w->ne[1];
    s.kernel_h = w->ne[1], s.kernel_w = w->ne[0];
    s.stride_w = params.stride[0], s.dilation_h = params.dilation[1], s.dilation_w = params.dilation[0];
    int64_t line = y->ne[0];
    if (w->ne[0] == 1 && w->ne[1] == 1 && params.stride[0] == 1 && params.stride[1] == 1 && params.padding[0] == 0 &&
        params.padding[1] == 0 && s.width <= INT32_MAX / s.height) {  // pixel by pixel: lines do not matter
      s.width *= s.height, s.height = 1;
      line = s.width;
    }
    PixelRun runs[kPanelVectors * 16];
    int count = 0;
    for (int at = 0; at < columns;) {
      const int64_t row = pixel / line, column = pixel % line;
      // With stride 1 runs of any length, else of a register.
      const int64_t most = params.stride[0] == 1 ? columns - at : std::min<int64_t>(f.lanes, columns - at);
      const int run = static_cast<int>(std::min<int64_t>(most, line - column));
      runs[count++] = {at, run, static_cast<int32_t>(row * params.stride[1] - params.padding[1]),
                       static_cast<int32_t>(column * params.stride[0] - params.padding[0])};
      at += run;
      pixel += run;
    }
    f.pack_pixels(s, runs, count, columns, out);
  }

  /// Patches of panel `panel`, and of the tail where it follows.
  void pack_panel(int64_t image, int64_t panel, float* out) const {
    pack(image, panel * width, static_cast<int>(std::min(width, pixels - tail - panel * width)), out);
    if (tail == 0 || panel + 1 < panels) return;
    float *columns = out + k * width, *packed = columns + k * kPanelTail;
    pack(image, pixels - tail, tail, packed);
    for (int64_t i = 0; i < k; ++i) {
      for (int c = 0; c < tail; ++c) columns[c * k + i] = packed[i * f.lanes + c];
    }
  }

  /// Kernels of blocks [first_block, last_block) on what pack_panel() has packed.
  void multiply(int64_t image, int64_t panel, int64_t first_block, int64_t last_block, const float* packed,
                int thread) const {
    const auto* bias = y->src[2] ? static_cast<const float*>(y->src[2]->data) : nullptr;
    const auto* residual = y->src[3] ? static_cast<const float*>(y->src[3]->data) : nullptr;
    PanelProduct p;
    p.columns = static_cast<int>(std::min(width, pixels - tail - panel * width));
    p.panel = packed;
    p.tail = packed + k * width;
    p.tail_columns = panel + 1 == panels ? tail : 0;
    p.k = p.weight_stride = p.tail_stride = k;
    p.epilogue = params.epilogue();
    p.y_stride = planes * pixels;
    for (int64_t block = first_block; block < last_block; ++block) {
      if (block % kBlocksBetween == 0 && stopped(y, thread)) return;
      const int64_t row = block * f.lanes;
      p.rows = static_cast<int>(std::min<int64_t>(f.lanes, rows - row));
      const char* data = static_cast<const char*>(w->data) + static_cast<size_t>(row * k) * ggml_type_size(w->type);
      p.weights = float_rows<WidenedKernels>(f, w->type, data, p.rows * k);
      p.bias = bias ? bias + row : nullptr;
      const int64_t at = ((image / planes * rows + row) * planes + image % planes) * pixels + panel * width;
      p.y = static_cast<float*>(y->data) + at;
      p.add = residual ? residual + at : nullptr;
      f.multiply(p);
    }
  }
};

void compute_dense(ggml_tensor* y, int thread, int threads, void* user) {
  const Product product(static_cast<const ConvKernel*>(user)->panel, y);
  const int64_t panels = product.panels * product.images;
  auto* packed =
      reinterpret_cast<float*>(thread_memory<Patches>(static_cast<size_t>(product.memory()) * sizeof(float)));
  // Threads share out the panels; where those are too few for even shares, pieces of the kernels, too, and each packs
  // the panels that it meets.
  const int64_t most = (panels + threads - 1) / threads;
  const bool by_kernels = product.blocks >= threads && most * threads * 8 > panels * 9;
  const int64_t pieces = by_kernels ? std::min<int64_t>(product.blocks, threads * kShares) : 1;
  Tickets<Params> tickets(y, panels * pieces, thread, threads);
  int64_t last = -1;
  for (int64_t i = tickets.take(); i < panels * pieces; i = tickets.take()) {
    const int64_t image = i / pieces / product.panels, panel = i / pieces % product.panels, piece = i % pieces;
    if (i / pieces != last) product.pack_panel(image, panel, packed);
    last = i / pieces;
    product.multiply(image, panel, product.blocks * piece / pieces, product.blocks * (piece + 1) / pieces, packed,
                     thread);
  }
}

WindowPlane plane_of(const ggml_tensor* y, const ggml_tensor* x, const Params& params, int64_t window_w,
                     int64_t window_h) {
  WindowPlane p;
  p.height = x->ne[1], p.width = x->ne[0];
  p.window_h = window_h, p.window_w = window_w;
  p.stride_w = params.stride[0], p.stride_h = params.stride[1];
  p.padding_w = params.padding[0], p.padding_h = params.padding[1];
  p.dilation_w = params.dilation[0], p.dilation_h = params.dilation[1];
  p.epilogue = params.epilogue();
  p.out_w = y->ne[0], p.out_h = y->ne[1];
  return p;
}

/// What this thread gets of all planes; `set` fills in what differs between channels. T: the node's parameters.
///
/// Planes are cut into bands of rows, which come first in the order: products before and behind go by pixels too, so a
/// thread finds most of its band in its own cache.
template <class T, class Set>
void planes(ggml_tensor* y, const ggml_tensor* x, int thread, int threads, const WindowPlane& whole,
            void (*function)(const WindowPlane&), Set set) {
  const int64_t count = x->ne[2] * x->ne[3];
  const int64_t bands =
      threads == 1 ? 1 : std::max<int64_t>(1, std::min<int64_t>(2 * threads, whole.out_h / kBandRows));
  const int64_t groups = std::min(count, std::max<int64_t>(1, threads * kShares / bands));
  Tickets<T> tickets(y, bands * groups, thread, threads);
  for (int64_t ticket = tickets.take(); ticket < bands * groups; ticket = tickets.take()) {
    const int64_t band = ticket / groups, group = ticket % groups;
    const int64_t from = whole.out_h * band / bands, to = whole.out_h * (band + 1) / bands;
    WindowPlane p = whole;
    p.out_h = to - from;
    p.padding_h -= from * p.stride_h;
    for (int64_t i = count * group / groups; i < count * (group + 1) / groups; ++i) {
      if (stopped(y, thread)) return;
      p.image = static_cast<const float*>(x->data) + i * p.height * p.width;
      p.y = static_cast<float*>(y->data) + (i * whole.out_h + from) * p.out_w;
      set(p, i % x->ne[2]);
      function(p);
    }
  }
}

void compute_depthwise(ggml_tensor* y, int thread, int threads, void* user) {
  const ggml_tensor *w = y->src[0], *x = y->src[1];
  const auto* bias = y->src[2] ? static_cast<const float*>(y->src[2]->data) : nullptr;
  const WindowPlane p = plane_of(y, x, custom_op_params<Params>(y), w->ne[0], w->ne[1]);
  const auto* kernels = static_cast<const float*>(w->data);
  planes<Params>(y, x, thread, threads, p, static_cast<const ConvKernel*>(user)->window.convolve,
                 [&](WindowPlane& plane, int64_t channel) {
                   plane.kernel = kernels + channel * p.window_h * p.window_w;
                   plane.bias = bias ? bias[channel] : 0.0f;
                 });
}

struct PoolParams {
  uint8_t window[2], stride[2], padding[2];
  bool max;
};

void compute_pool(ggml_tensor* y, int thread, int threads, void* user) {
  const WindowFunctions& f = static_cast<const ConvKernel*>(user)->window;
  const auto pool = custom_op_params<PoolParams>(y);
  Params params;
  params.set({});
  for (int i = 0; i < 2; ++i) {
    params.stride[i] = pool.stride[i];
    params.padding[i] = pool.padding[i];
  }
  const WindowPlane p = plane_of(y, y->src[0], params, pool.window[0], pool.window[1]);
  planes<PoolParams>(y, y->src[0], thread, threads, p, pool.max ? f.max : f.mean, [](WindowPlane&, int64_t) {});
}

/// Whether a product with sums of k terms can be made of a weight.
bool panels_fit(const PanelFunctions& f, const ggml_tensor* w, int64_t k) {
  return f.multiply && is_panel_weight(w->type) &&
         k <= kMaxPanelBytes / (kPanelVectors * f.lanes * static_cast<int64_t>(sizeof(float)));
}

}  // namespace

ggml_tensor* conv_2d(ggml_context* ctx, const ConvArgs& args, const ConvKernel& kernel) {
  const ggml_tensor *w = args.kernel, *x = args.image;
  Params params;
  if (!small(args.stride, params.stride) || !small(args.padding, params.padding) ||
      !small(args.dilation, params.dilation)) {
    return nullptr;
  }
  params.set(args.fused.epilogue);
  if (x->type != GGML_TYPE_F32 || !ggml_is_contiguous(x) || !is_host_memory(w) || !ggml_is_contiguous(w))
    return nullptr;
  if (x->ne[0] > INT32_MAX / 4 || x->ne[1] > INT32_MAX / 4) return nullptr;
  const bool depthwise = w->ne[2] == 1 && x->ne[2] == w->ne[3] && x->ne[2] > 1;
  if (depthwise) {
    if (!kernel.window.convolve || w->type != GGML_TYPE_F32 || w->ne[0] > kMaxWindow) return nullptr;
  } else {
    if (args.out_w * args.out_h < kernel.min_pixels) return nullptr;
    if (!panels_fit(kernel.panel, w, w->ne[0] * w->ne[1] * w->ne[2])) return nullptr;
  }
  ggml_tensor* operands[3] = {args.kernel, args.image, args.fused.bias};
  ggml_tensor* y =
      ggml_custom_4d(ctx, GGML_TYPE_F32, args.out_w, args.out_h, w->ne[3], x->ne[3], operands, args.fused.bias ? 3 : 2,
                     depthwise ? guarded_kernel<compute_depthwise> : guarded_kernel<compute_dense>, GGML_N_TASKS_MAX,
                     const_cast<ConvKernel*>(&kernel));
  set_custom_op(y, depthwise ? "CONV_2D_DEPTHWISE" : "CONV_2D", params);
  return y;
}

ggml_tensor* conv_3d(ggml_context* ctx, const Conv3dArgs& args, const ConvKernel& kernel) {
  const ggml_tensor *w = args.kernel, *x = args.volume;
  Params params;
  if (!small(args.stride, params.stride) || !small(args.padding, params.padding) ||
      !small(args.dilation, params.dilation) || args.channels > std::numeric_limits<uint16_t>::max()) {
    return nullptr;
  }
  params.set(args.fused.epilogue);
  params.channels = static_cast<uint16_t>(args.channels);
  if (x->type != GGML_TYPE_F32 || !ggml_is_contiguous(x) || !is_host_memory(w) || !ggml_is_contiguous(w))
    return nullptr;
  if (x->ne[0] > INT32_MAX / 4 || x->ne[1] > INT32_MAX / 4) return nullptr;
  if (!panels_fit(kernel.panel, w, w->ne[0] * w->ne[1] * w->ne[2] * args.channels)) return nullptr;
  ggml_tensor* operands[3] = {args.kernel, args.volume, args.fused.bias};
  ggml_tensor* y =
      ggml_custom_4d(ctx, GGML_TYPE_F32, args.out_w, args.out_h, args.out_d,
                     w->ne[3] / args.channels * (x->ne[3] / args.channels), operands, args.fused.bias ? 3 : 2,
                     guarded_kernel<compute_dense>, GGML_N_TASKS_MAX, const_cast<ConvKernel*>(&kernel));
  set_custom_op(y, "CONV_3D", params);
  return y;
}

bool can_add(const ggml_tensor* node) {
  if (node->op != GGML_OP_CUSTOM || node->src[3] != nullptr) return false;
  ggml_custom_op_t function;
  std::memcpy(&function, node->op_params, sizeof(function));  // the first of ggml's own fields
  return function == guarded_kernel<compute_dense> && custom_op_params<Params>(node).epilogue().is_nothing();
}

void add_to_conv(const ggml_tensor* conv, ggml_tensor* residual, const Epilogue& epilogue, ggml_tensor* result) {
  auto params = custom_op_params<Params>(conv);
  params.set(epilogue);
  result->op = GGML_OP_CUSTOM;
  std::memcpy(result->op_params, conv->op_params, sizeof(result->op_params));
  set_custom_op(result, params.channels > 0 ? "CONV_3D" : "CONV_2D", params);
  std::copy(std::begin(conv->src), std::end(conv->src), std::begin(result->src));
  result->src[3] = residual;
}

ggml_tensor* pool_2d(ggml_context* ctx, const PoolArgs& args, const ConvKernel& kernel) {
  ggml_tensor* x = args.image;
  PoolParams params{};
  params.max = args.max;
  if (!small(args.window, params.window) || !small(args.stride, params.stride) || !small(args.padding, params.padding))
    return nullptr;
  if (!kernel.window.max || args.window[0] > kMaxWindow) return nullptr;
  if (x->type != GGML_TYPE_F32 || !ggml_is_contiguous(x)) return nullptr;
  ggml_tensor* y = ggml_custom_4d(ctx, GGML_TYPE_F32, args.out_w, args.out_h, x->ne[2], x->ne[3], &x, 1,
                                  guarded_kernel<compute_pool>, GGML_N_TASKS_MAX, const_cast<ConvKernel*>(&kernel));
  set_custom_op(y, args.max ? "POOL_2D_MAX" : "POOL_2D_MEAN", params);
  return y;
}

}  // namespace etggml::graph
