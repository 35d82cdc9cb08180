// PixelFunctions on struct Simd (simd_*.h), which the including file chooses. Unnamed namespace: see there.
#pragma once

#include "graph/kernels/pixel_pieces.h"

namespace {

using etggml::graph::PixelPiece;

/// The lanes of a piece; S: the stride, or 0 for any.
template <int S>
inline Reg load_piece(const PixelPiece& p, int64_t stride, const float* from) {
  if (S == 1) return Simd::load(from, Simd::bits(p.low));
  if (S == 2) return Simd::even(Simd::load(from, Simd::bits(p.low)), Simd::load(from + kW, Simd::bits(p.high)));
  alignas(64) float lanes[kW] = {};
  for (int i = 0; i < kW; ++i) {
    if (p.lanes >> i & 1) lanes[i] = from[i * stride];
  }
  return Simd::load(lanes);
}

template <int S>
inline void copy_pieces(const PixelPiece* pieces, int64_t count, int64_t stride, const float* plane, float* to) {
  for (int64_t i = 0; i < count; ++i) {
    const PixelPiece& p = pieces[i];
    const Reg x = load_piece<S>(p, stride, plane + p.from);
    if (p.first) {
      Simd::store(to + p.to, x);
    } else {
      Simd::store(to + p.to, x, Simd::bits(p.lanes));
    }
  }
}

void make_masks(const uint16_t* lanes, int64_t count, uint8_t* masks) {
  for (int64_t i = 0; i < count; ++i) {
    const Simd::Mask mask = Simd::bits(lanes[i]);
    __builtin_memcpy(masks + i * static_cast<int64_t>(sizeof(mask)), &mask, sizeof(mask));
  }
}

void copy_pixels(const PixelPiece* pieces, int64_t count, int64_t stride, const float* plane, float* to) {
  if (stride == 1) return copy_pieces<1>(pieces, count, stride, plane, to);
  if (stride == 2) return copy_pieces<2>(pieces, count, stride, plane, to);
  copy_pieces<0>(pieces, count, stride, plane, to);
}

}  // namespace
