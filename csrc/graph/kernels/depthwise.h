// One kernel per channel: the work on one channel plane.
#pragma once

#include <cstddef>
#include <cstdint>

#include "graph/kernels/epilogue.h"

namespace etggml::graph {

struct DepthwisePlane {
  const float* image = nullptr;  // [height, width]
  int64_t height = 0, width = 0;
  const float* kernel = nullptr;  // [kernel_h, kernel_w]
  int64_t kernel_h = 0, kernel_w = 0;
  int64_t stride_h = 1, stride_w = 1, padding_h = 0, padding_w = 0, dilation_h = 1, dilation_w = 1;
  float bias = 0.0f;
  Epilogue epilogue;
  float* y = nullptr;  // [out_h, out_w]
  int64_t out_h = 0, out_w = 0;
};

struct DepthwiseFunctions {
  /// Floats of scratch memory for such a plane (its pointers do not count).
  int64_t (*scratch)(const DepthwisePlane& p) = nullptr;
  void (*plane)(const DepthwisePlane& p, float* scratch) = nullptr;
};

/// nullptr functions where the compiler could not build them. Call only on a CPU that has the instructions.
DepthwiseFunctions depthwise_avx2();
DepthwiseFunctions depthwise_avx512();
/// The best for this CPU; nullptr functions where there are none.
DepthwiseFunctions depthwise_functions();

}  // namespace etggml::graph
