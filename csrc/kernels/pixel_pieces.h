// Copies of lines of an image into memory where they lie side by side. A plan is made once and followed for each
// channel.
#pragma once

#include <cstdint>

namespace etggml::kernels {

/// One line's part of one register.
struct PixelPiece {
  int32_t from = 0;    // element that lane 0 would have; it may lie outside the source
  int32_t to = 0;      // where the register goes
  uint16_t lanes = 0;  // bits of the lanes that the line gives
  uint16_t low = 0;    // bits of the elements to load, from `from` on: with stride 1 the lanes, with stride 2 those of
  uint16_t high = 0;   // two registers
  bool first = true;   // of its register: other lanes become 0
};

}  // namespace etggml::kernels
