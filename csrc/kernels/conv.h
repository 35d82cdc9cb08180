// Convolutions on the CPU, in the layout that torch has: channel planes of contiguous pixels, no copy of the image.
//
// A dense convolution is a product. The kernels are rows of weights, read in place. Patches of the image are packed
// into panels of pixels (panel.h) on the fly. A depthwise one goes over one channel plane at a time.
#pragma once

#include "kernels/kernels.h"
#include "kernels/panel.h"
#include "kernels/window.h"

namespace etggml::kernels {

struct ConvKernel {
  PanelFunctions panel;
  WindowFunctions window;
  /// Of the result of a dense convolution, per image: with fewer, reading the weights is all the time there is.
  int64_t min_pixels = 4;
};

/// Takes a contiguous F32 image and a contiguous kernel in plain host memory: F32, F16 or BF16, depthwise F32 only;
/// nullptr for everything else.
ggml_tensor* conv_2d(ggml_context* ctx, const ConvArgs& args, const ConvKernel& kernel);

/// Takes a contiguous F32 volume and a contiguous kernel in plain host memory: F32, F16 or BF16; nullptr for everything
/// else.
ggml_tensor* conv_3d(ggml_context* ctx, const Conv3dArgs& args, const ConvKernel& kernel);

/// Whether `node` is a dense convolution by conv_2d() or conv_3d() to which nothing but a bias has been added.
bool can_add(const ggml_tensor* node);

/// Makes `result` the convolution `conv` plus `residual`, then `epilogue`: dense F32 tensors of one shape. can_add()
/// holds for `conv`, which is not needed any more.
void add_to_conv(const ggml_tensor* conv, ggml_tensor* residual, const Epilogue& epilogue, ggml_tensor* result);

/// Takes a contiguous F32 image; nullptr for everything else.
ggml_tensor* pool_2d(ggml_context* ctx, const PoolArgs& args, const ConvKernel& kernel);

}  // namespace etggml::kernels
