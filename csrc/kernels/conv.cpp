#include "kernels/conv.h"

#include <algorithm>
#include <cstring>
#include <iterator>
#include <limits>

#include "kernels/conv_bands.h"
#include "kernels/conv_dense.h"
#include "kernels/custom_op.h"
#include "kernels/float_rows.h"
#include "kernels/host_matrix.h"
#include "kernels/kernel_guard.h"

namespace etggml::kernels {
namespace {

// Every thread keeps memory for one panel; far beyond the kernels of any model.
constexpr int64_t kMaxPanelBytes = 64 << 20;

// Pieces of work for each thread, where pieces can be small: enough to even out a thread that is held up.
constexpr int64_t kShares = 8;

// Rows of a band of channel planes, at least.
constexpr int64_t kBandRows = 7;

template <int N, int Room>
bool small(const int (&values)[N], uint8_t (&out)[Room]) {
  static_assert(N <= Room);
  for (int i = 0; i < N; ++i) {
    if (values[i] < 0 || values[i] > std::numeric_limits<uint8_t>::max()) return false;
    out[i] = static_cast<uint8_t>(values[i]);
  }
  return true;
}

void compute_dense(ggml_tensor* y, int thread, int threads, void* user) {
  const DenseConv conv(static_cast<const ConvKernel*>(user)->panel, y);
  if (const auto bands = bands_of(conv, threads)) return convolve_bands(*bands, y, thread, threads);
  convolve_patches(conv, y, thread, threads);
}

WindowPlane plane_of(const ggml_tensor* y, const ggml_tensor* x, const ConvParams& params, int64_t window_w,
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

/// This thread's share of all planes; `set` fills in the fields that differ between channels. T: the node's parameters.
///
/// Planes are cut into bands of rows, which come first in the order. The products before and after go by pixels, too.
/// So a thread finds most of its band in its own cache.
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
  const WindowPlane p = plane_of(y, x, custom_op_params<ConvParams>(y), w->ne[0], w->ne[1]);
  const auto* kernels = static_cast<const float*>(w->data);
  planes<ConvParams>(y, x, thread, threads, p, static_cast<const ConvKernel*>(user)->window.convolve,
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
  ConvParams params;
  params.set({});
  for (int i = 0; i < 2; ++i) {
    params.stride[i] = pool.stride[i];
    params.padding[i] = pool.padding[i];
  }
  const WindowPlane p = plane_of(y, y->src[0], params, pool.window[0], pool.window[1]);
  planes<PoolParams>(y, y->src[0], thread, threads, p, pool.max ? f.max : f.mean, [](WindowPlane&, int64_t) {});
}

/// Whether the kernels of a convolution are where this CPU reads them: a weight in plain memory, or a result of the
/// graph.
bool is_readable(const ggml_tensor* w) {
  const ggml_tensor* root = w->view_src ? w->view_src : w;
  return ggml_is_contiguous(w) && (root->op != GGML_OP_NONE || is_host_memory(w));
}

/// Whether a product with sums of k terms can be made of a weight.
bool panels_fit(const PanelFunctions& f, const ggml_tensor* w, int64_t k) {
  return f.multiply && is_panel_weight(w->type) &&
         k <= kMaxPanelBytes / (kPanelVectors * f.lanes * static_cast<int64_t>(sizeof(float)));
}

}  // namespace

ggml_tensor* conv_2d(ggml_context* ctx, const ConvArgs& args, const ConvKernel& kernel) {
  const ggml_tensor *w = args.kernel, *x = args.image;
  ConvParams params;
  if (!small(args.stride, params.stride) || !small(args.padding, params.padding) ||
      !small(args.dilation, params.dilation)) {
    return nullptr;
  }
  params.set(args.fused.epilogue);
  if (x->type != GGML_TYPE_F32 || !ggml_is_contiguous(x) || !is_readable(w)) return nullptr;
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
  ConvParams params;
  if (!small(args.stride, params.stride) || !small(args.padding, params.padding) ||
      !small(args.dilation, params.dilation) || args.channels > std::numeric_limits<uint16_t>::max()) {
    return nullptr;
  }
  params.set(args.fused.epilogue);
  params.channels = static_cast<uint16_t>(args.channels);
  if (x->type != GGML_TYPE_F32 || !ggml_is_contiguous(x) || !is_readable(w)) return nullptr;
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
  return function == guarded_kernel<compute_dense> && custom_op_params<ConvParams>(node).epilogue().is_nothing();
}

void add_to_conv(const ggml_tensor* conv, ggml_tensor* residual, const Epilogue& epilogue, ggml_tensor* result) {
  auto params = custom_op_params<ConvParams>(conv);
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

}  // namespace etggml::kernels
