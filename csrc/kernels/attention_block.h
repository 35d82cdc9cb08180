// The inner loop of attention with many queries: a tile of keys and values, converted once, against all of them.
#pragma once

#include <cstdint>

#include "kernels/attention_tile.h"

namespace etggml::kernels {

/// Keys and values of kAttentionTile positions of one head, in F32.
struct AttentionOperands {
  float* keys = nullptr;    // [dk][kAttentionTile]: transposed, so that a register holds one element of many keys
  float* values = nullptr;  // [kAttentionTile][dv]
};

struct AttentionBlock {
  AttentionOperands operands;
  int dk = 0, dv = 0;
  int rows = 0;
  const float* q = nullptr;            // [rows][dk], with the scale multiplied in
  const float* const* bias = nullptr;  // by row: [kAttentionTile] added to scores (-inf hides), or nullptr for none
  const float* slopes = nullptr;       // by row: factor on the bias
  bool bounds = false;                 // bias is -inf or inf, an upper bound of the score: NaN becomes the bound
  float softcap = 0;                   // 0 for none; q is divided by it as well
  // Running results, as in AttentionTile.
  float* acc = nullptr;
  float* max = nullptr;
  float* sum = nullptr;
};

struct AttentionBlockFunctions {
  /// Fills operands from rows `stride` bytes apart. Where `visible[i]` is false or i >= count the row is taken as
  /// zeros, and its memory does not matter.
  using Convert = void (*)(const char* k, int64_t k_stride, int dk, const char* v, int64_t v_stride, int dv,
                           const bool* visible, int count, const AttentionOperands& out);
  Convert convert_f16 = nullptr;
  Convert convert_f32 = nullptr;
  /// Every row must see at least one position of the tile.
  void (*multiply)(const AttentionBlock&) = nullptr;
};

/// The best of them for this CPU.
AttentionBlockFunctions attention_block_functions();

}  // namespace etggml::kernels
