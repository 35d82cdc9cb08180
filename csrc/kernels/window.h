// A small window moves over one channel plane: convolution with a kernel per channel, pooling.
#pragma once

#include <cstdint>

#include "kernels/epilogue.h"

namespace etggml::kernels {

/// Largest width of a window.
constexpr int64_t kMaxWindow = 32;

struct WindowPlane {
  const float* image = nullptr;  // [height, width]
  int64_t height = 0, width = 0;
  int64_t window_h = 0, window_w = 0;
  int64_t stride_h = 1, stride_w = 1, dilation_h = 1, dilation_w = 1;
  int64_t padding_h = 0, padding_w = 0;  // negative where the results begin further down
  float* y = nullptr;                    // [out_h, out_w]
  int64_t out_h = 0, out_w = 0;
  const float* kernel = nullptr;  // [window_h, window_w]; convolution only, like the rest
  float bias = 0.0f;
  Epilogue epilogue;
};

struct WindowFunctions {
  /// Sums of products; outside the image is 0.
  void (*convolve)(const WindowPlane& p) = nullptr;
  /// Largest elements, NaN where there is one; outside the image is nothing.
  void (*max)(const WindowPlane& p) = nullptr;
  /// Means over whole windows; outside the image is 0.
  void (*mean)(const WindowPlane& p) = nullptr;
};

/// The best for this CPU; nullptr functions where there are none.
WindowFunctions window_functions();

}  // namespace etggml::kernels
