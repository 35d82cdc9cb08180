// A dense convolution as a product: rows are kernels, columns pixels of the result. Everything is a volume here; an
// image is one of a single plane.
#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels/kernels.h"
#include "kernels/panel.h"

namespace etggml::kernels {

/// The part of ConvArgs and Conv3dArgs that does not follow from the tensors, in the room that a node has.
struct ConvParams {
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

struct DenseConv {
  const PanelFunctions& f;
  const ggml_tensor *w, *x, *y;
  Epilogue epilogue;
  int64_t channels, volumes;
  int64_t width, height, depth;  // of the source
  int64_t kernel_w, kernel_h, kernel_d;
  int64_t stride[3], padding[3], dilation[3];  // width, height, depth
  int64_t line, lines, planes;                 // of the result: pixels of a line, lines of a plane
  int64_t k, rows, blocks;                     // terms of a sum; kernels, and blocks of them
  int64_t pixels, panel_width, panels;         // of a plane
  int tail;                                    // pixels that go with the last panel

  DenseConv(const PanelFunctions& functions, const ggml_tensor* result);

  /// The same of an image, with its rows as the planes of a volume: they must be read from the first column on.
  DenseConv rows_as_planes() const;

  int64_t source_plane() const { return width * height; }
  /// A plane of the first channel; the others follow depth * source_plane() apart.
  const float* source(int64_t volume, int64_t plane) const {
    return static_cast<const float*>(x->data) + (volume * channels * depth + plane) * source_plane();
  }
  /// Columns of the panel that begins at a pixel, without the tail.
  int columns(int64_t pixel) const { return static_cast<int>(std::min(panel_width, pixels - tail - pixel)); }
  /// Of the tail, where it follows that panel.
  int tail_of(int64_t pixel) const { return pixel + panel_width >= pixels - tail ? tail : 0; }

  /// The kernels of a block, as floats: valid until the next call on this thread.
  const float* weights(int64_t block) const;
  /// A product of those kernels, of which only the panel is missing.
  PanelProduct product(const float* weights, int64_t block, int64_t volume, int64_t plane, int64_t pixel) const;

 private:
  void finish();
};

/// Every panel packs the pixels that all elements of the kernel meet.
void convolve_patches(const DenseConv& conv, ggml_tensor* y, int thread, int threads);

}  // namespace etggml::kernels
