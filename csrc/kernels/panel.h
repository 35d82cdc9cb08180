// The parts of a product of F32 matrices, and of a convolution, which is one: rows of weights, read in place, times
// panels of packed columns. A panel holds, for each k, up to kVectors registers of columns side by side. The loop
// multiplies registers of columns with one element of a row at a time, so it needs no sums across lanes.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/epilogue.h"
#include "kernels/pixel_pieces.h"

namespace etggml::kernels {

/// Registers of columns in a panel; the last panel of a product may have fewer.
constexpr int kPanelVectors = 3;

/// Columns too few for a register of their own, which then go with the panel before them: their sums are taken across
/// lanes, which wastes none of them.
constexpr int kPanelTail = 6;

/// How many of the last columns of a product with sums of k terms are such; `width` is that of a full panel.
inline int tail_columns(int64_t columns, int64_t width, int64_t k) {
  constexpr int64_t kMinTerms = 128;                // shorter sums take less time than the additions across lanes
  constexpr int64_t kMinWidth = kPanelVectors * 8;  // narrower registers waste few lanes
  const int64_t rest = columns % width;
  return columns > width && width >= kMinWidth && k >= kMinTerms && rest <= kPanelTail ? static_cast<int>(rest) : 0;
}

/// Where one row of a panel lies, in floats, and its kPanelVectors masks, in bytes.
struct PanelRow {
  int32_t at = 0, mask = 0;
};

/// A block of rows times a panel.
struct PanelProduct {
  const float* weights = nullptr;  // row i at weights + i * weight_stride
  int64_t weight_stride = 0;
  int rows = 0;                  // 1..PanelFunctions::rows
  const float* panel = nullptr;  // k rows of `columns` floats, rounded up to whole registers
  int64_t k = 0;
  /// Where rows of the panel lie instead, k of them, `panel` being the origin; registers are read whole but for the
  /// lanes that their masks hide. Of every `period` rows those before `from` and from `to` on are left out.
  const PanelRow* at = nullptr;
  const uint8_t* masks = nullptr;
  int64_t period = 0, from = 0, to = 0;
  int columns = 0;              // 1..kPanelVectors * lanes
  const float* tail = nullptr;  // columns that follow a full panel, k contiguous floats each
  int64_t tail_stride = 0;
  int tail_columns = 0;         // 0..kPanelTail
  const float* bias = nullptr;  // one per row, or nullptr
  Epilogue epilogue;
  float* y = nullptr;
  int64_t y_stride = 0;        // between rows; between columns where transposed
  bool transposed = false;     // y[column * y_stride + row]
  const float* add = nullptr;  // laid out as y, added before the epilogue, or nullptr; only where not transposed
  bool adds = false;           // to y's old contents, before the epilogue; only where transposed
};

/// Where the pixels of a panel of a convolution come from: runs of pixels of one row of the result.
struct PixelRun {
  int32_t at;      // first column in the panel
  int32_t count;   // 1..lanes, or more where the stride is 1
  int32_t row;     // input row of the kernel's first row
  int32_t column;  // input column of the kernel's first column
};

/// An image's channel planes and how a kernel moves over them.
struct PixelSource {
  const float* image = nullptr;  // a plane [H, W] of each channel
  int64_t channels = 0, height = 0, width = 0;
  int64_t plane_stride = 0;  // floats between the planes of neighbouring channels
  int64_t taps = 0;          // elements of a channel's kernel: panel rows from one channel to the next
  int64_t kernel_h = 0, kernel_w = 0;
  int64_t stride_w = 0, dilation_h = 0, dilation_w = 0;
};

struct PanelFunctions {
  int lanes = 0;  // of a register
  int rows = 0;   // of weights at a time
  void (*multiply)(const PanelProduct& p) = nullptr;
  /// Packs columns (1..kPanelVectors * lanes), stored as rows of x, row_stride apart. Elements [from, to) of each go
  /// into rows [from, to) of the panel. `from` is a multiple of lanes. Missing columns become 0.
  void (*pack_rows)(const float* x, int64_t row_stride, int columns, int64_t from, int64_t to, float* panel) = nullptr;
  /// Patches of an image, 0 outside of it. Row c * taps + i * kernel_w + j of the panel holds the values that the
  /// kernel's element (c, i, j) meets at each pixel. The runs cover all `columns`.
  void (*pack_pixels)(const PixelSource& source, const PixelRun* runs, int run_count, int columns,
                      float* panel) = nullptr;
  /// Follows a plan of pieces for one plane of an image, with lines `stride` apart.
  void (*copy_pixels)(const PixelPiece* pieces, int64_t count, int64_t stride, const float* plane, float* to) = nullptr;
  /// Masks, in the form that `multiply` reads, of the lanes with set bits.
  void (*make_masks)(const uint16_t* lanes, int64_t count, uint8_t* masks) = nullptr;
  int mask_bytes = 0;
  FinishFunction finish = nullptr;
  /// fp16 and bf16 to floats.
  void (*widen_f16)(const uint16_t* x, int64_t n, float* y) = nullptr;
  void (*widen_bf16)(const uint16_t* x, int64_t n, float* y) = nullptr;
};

/// The best for this CPU; nullptr functions where there are none.
PanelFunctions panel_functions();

}  // namespace etggml::kernels
