#include "kernels/conv_dense.h"

#include <algorithm>

#include "kernels/custom_op.h"
#include "kernels/float_rows.h"

namespace etggml::kernels {
namespace {

struct WidenedKernels;

}  // namespace

DenseConv::DenseConv(const PanelFunctions& functions, const ggml_tensor* result)
    : f(functions), w(result->src[0]), x(result->src[1]), y(result) {
  const auto params = custom_op_params<ConvParams>(result);
  const bool volume = params.channels > 0;
  epilogue = params.epilogue();
  channels = volume ? params.channels : x->ne[2];
  volumes = volume ? x->ne[3] / channels : x->ne[3];
  width = x->ne[0], height = x->ne[1], depth = volume ? x->ne[2] : 1;
  kernel_w = w->ne[0], kernel_h = w->ne[1], kernel_d = volume ? w->ne[2] : 1;
  for (int i = 0; i < 3; ++i) {
    stride[i] = params.stride[i], padding[i] = params.padding[i], dilation[i] = params.dilation[i];
  }
  line = y->ne[0], lines = y->ne[1], planes = volume ? y->ne[2] : 1;
  rows = volume ? w->ne[3] / channels : w->ne[3];
  finish();
}

void DenseConv::finish() {
  k = kernel_w * kernel_h * kernel_d * channels;
  blocks = (rows + f.rows - 1) / f.rows;
  pixels = line * lines;
  panel_width = kPanelVectors * f.lanes;
  tail = tail_columns(pixels, panel_width, k);
  panels = (pixels - tail + panel_width - 1) / panel_width;
}

DenseConv DenseConv::rows_as_planes() const {
  DenseConv c = *this;
  c.depth = height, c.height = 1;
  c.kernel_d = kernel_h, c.kernel_h = 1;
  c.planes = lines, c.lines = 1;
  c.stride[2] = stride[1], c.padding[2] = padding[1], c.dilation[2] = dilation[1];
  c.stride[1] = c.dilation[1] = 1, c.padding[1] = 0;
  c.finish();
  return c;
}

const float* DenseConv::weights(int64_t block) const {
  const int64_t row = block * f.rows;
  const char* data = static_cast<const char*>(w->data) + static_cast<size_t>(row * k) * ggml_type_size(w->type);
  return float_rows<WidenedKernels>(f, w->type, data, std::min<int64_t>(f.rows, rows - row) * k);
}

PanelProduct DenseConv::product(const float* weights, int64_t block, int64_t volume, int64_t plane,
                                int64_t pixel) const {
  const auto* bias = y->src[2] ? static_cast<const float*>(y->src[2]->data) : nullptr;
  const auto* residual = y->src[3] ? static_cast<const float*>(y->src[3]->data) : nullptr;
  const int64_t row = block * f.rows, at = ((volume * rows + row) * planes + plane) * pixels + pixel;
  PanelProduct p;
  p.weights = weights;
  p.rows = static_cast<int>(std::min<int64_t>(f.rows, rows - row));
  p.columns = columns(pixel);
  p.tail_columns = tail_of(pixel);
  p.k = p.weight_stride = p.tail_stride = k;
  p.bias = bias ? bias + row : nullptr;
  p.epilogue = epilogue;
  p.y = static_cast<float*>(y->data) + at;
  p.y_stride = planes * pixels;
  p.add = residual ? residual + at : nullptr;
  return p;
}

}  // namespace etggml::kernels
