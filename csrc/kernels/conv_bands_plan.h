// The copies of a band of a dense convolution, and the lanes of a panel that meet the source.
#pragma once

#include "kernels/conv_bands.h"

namespace etggml::kernels {

/// Room for plan_pieces().
int64_t most_pieces(const Bands& bands);

/// How one channel of a block is filled for the band that begins at line `first`; returns the number of pieces.
int64_t plan_pieces(const Bands& bands, int64_t first, PixelPiece* pieces);

/// Of the pixels from `pixel` on, bits of those that a column of the kernel lets meet a column of the source.
uint16_t lanes_inside(const Bands& bands, int64_t pixel, int64_t column);

}  // namespace etggml::kernels
