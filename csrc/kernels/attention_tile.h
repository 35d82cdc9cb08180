// The inner loop of attention with few queries: some keys and values of one head against the queries that share them.
#pragma once

#include <cstdint>

namespace etggml::kernels {

constexpr int kAttentionTile = 32;  // positions at a time: their keys and values of one head stay in first-level cache
constexpr int kAttentionMaxRows = 4;    // queries at a time: their accumulators stay in registers
constexpr int kAttentionHeadStep = 16;  // head sizes are multiples of this

struct AttentionTile {
  const char* k = nullptr;  // row of the tile's first position
  const char* v = nullptr;
  int64_t k_stride = 0;  // bytes from position to position
  int64_t v_stride = 0;
  const char* next_k = nullptr;  // rows that will be wanted next, at the same strides; nullptr for none
  const char* next_v = nullptr;
  const uint8_t* visible = nullptr;                // the positions to attend to, ascending, in [0, kAttentionTile)
  int count = 0;                                   // how many; at least 1
  const float* bias = nullptr;                     // [count], added to scores; nullptr for none
  bool bounds = false;                             // bias is -inf or 0, and -inf hides a NaN, too
  float slopes[kAttentionMaxRows] = {1, 1, 1, 1};  // factor on the bias, by row
  int rows = 1;                                    // queries, 1..kAttentionMaxRows
  int dk = 0, dv = 0;
  const float* q = nullptr;  // [rows][dk], with the scale multiplied in
  float softcap = 0;         // 0 for none; q is divided by it as well
  // Running results of the online softmax: acc [rows][dv] = sum of exp(score - max) * v, sum = sum of exp(score - max).
  float* acc = nullptr;
  float* max = nullptr;
  float* sum = nullptr;
};

using AttentionTileFunction = void (*)(const AttentionTile&);

struct AttentionTileFunctions {
  AttentionTileFunction f16 = nullptr;  // keys and values in half precision
  AttentionTileFunction f32 = nullptr;
};

/// The best of them for this CPU.
AttentionTileFunctions attention_tile_functions();

}  // namespace etggml::kernels
