// The parts of a product of a quantised matrix with several rows of F32. Both operands are converted so that dot
// products of bytes do the work.
//
// Weights: a panel of 32 rows, as unsigned bytes u with w = scale * (u - 128) or w = scale * u + min. Groups of four
// elements are interleaved, so one register holds the same four columns of 16 rows. Activations: blocks of 32 as signed
// bytes with one scale, like ggml's Q8_0 but with the scale in F32. Their sums correct for the offset of u and for the
// minimum.
#pragma once

#include <cstddef>
#include <cstdint>

#include "ggml.h"

namespace etggml::kernels {

constexpr int kPanelRows = 32;
constexpr int kGemmBlock = 32;

struct ActivationBlock {
  int8_t q[kGemmBlock];
  float scale;
  int32_t offset[3];  // -128 * sum of q: of the block, of its first half, of its second
  float sum[3];       // scale * sum of q: the same
  int32_t odd;        // of a row's first block: the row must be multiplied with numbers (exact_rows.h)
};
static_assert(sizeof(ActivationBlock) == 64, "one cache line");

/// Memory of one panel of k columns. Scales and minima: [k / 16 or k / 32][32 rows].
struct Panel {
  uint8_t* u = nullptr;    // k * 32 bytes, 64-byte aligned
  float* scale = nullptr;  // k / 16 * 32
  float* min = nullptr;    // as many
};

struct GemmFunctions {
  /// Types that pack_panel and multiply know.
  bool (*takes)(ggml_type type) = nullptr;
  /// Quantises k (a multiple of 32) floats. NaN and infinity make their block's scale NaN.
  void (*pack_activations)(const float* x, int64_t k, ActivationBlock* out) = nullptr;
  /// Brings rows (1..32) of a quantised matrix into a panel; rows that are missing repeat the last one.
  void (*pack_panel)(ggml_type type, const char* w, size_t row_bytes, int rows, int64_t k,
                     const Panel& panel) = nullptr;
  /// y[c * y_stride + r] = row r of the panel times column c.
  void (*multiply)(ggml_type type, const Panel& panel, int rows, int64_t k, const ActivationBlock* x, int64_t columns,
                   float* y, int64_t y_stride) = nullptr;
};

/// nullptr functions where the compiler could not build them. Call only on a CPU that has the instructions.
GemmFunctions gemm_avx512vnni();

}  // namespace etggml::kernels
