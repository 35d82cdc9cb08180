// Dense convolutions with panels that share their packed data. For a band of the pixels of a plane, the lines of the
// source that its kernels meet are copied once. The copies have as many pixels as lines of the result. So one element
// of the kernel meets a run of that copy, for every panel of the band. Where a kernel reaches over the
// sides, masks keep the neighbouring lines out. The copies of the planes that one plane of a volume meets are kept for
// the next.
#pragma once

#include <optional>

#include "kernels/conv_dense.h"

namespace etggml::kernels {

struct Bands {
  DenseConv conv;
  int64_t panels = 0, count = 0;  // of a band, at most; bands of a plane
  int64_t chunks = 1;             // runs of planes that threads share out
  // A block is the copy of one source plane: [channel][copy][phase][line of a band][pixel]. A phase has every stride-th
  // line. A copy has every stride-th pixel of them. If those are more than a line of the result has, there is a copy
  // for each column of the kernel, and no masks.
  bool masked = false;
  int64_t copies = 0, phases = 0, lines = 0;
  int64_t part = 0, channel = 0;  // floats of one phase, of one channel

  int64_t block() const { return conv.channels * channel; }
  /// Where a column of the kernel meets the first pixel of a line: which copy, and how far right in it.
  int64_t copy_of(int64_t column) const;
  int64_t shift_of(int64_t column) const;
  /// The column of the source that is the first of a copy.
  int64_t first_column(int64_t copy) const;
  /// Floats before and behind the blocks that a panel may read, behind masks or for pixels that are none.
  int64_t margin() const;
  /// Floats that a thread needs.
  int64_t memory() const;
};

/// How to cut it; nothing where that is no faster than convolve_patches().
std::optional<Bands> bands_of(const DenseConv& conv, int threads);

void convolve_bands(const Bands& bands, ggml_tensor* y, int thread, int threads);

}  // namespace etggml::kernels
