// One direction of a recurrent layer on the CPU: all steps in one node.
//
// As separate nodes, a step has twenty of them for a product of few columns. Here the weights are packed once for all
// steps, so that a register holds one element of several hidden units. The gates of a unit are summed together, and its
// new state is computed from the registers.
#pragma once

#include "kernels/kernels.h"

namespace etggml::kernels {

/// Of one layer: H hidden units, G gates, B columns.
struct RecurrentLayer {
  const float* w = nullptr;     // [G H rows, H]; packed where functions say so
  const float* bias = nullptr;  // [G H]
  int64_t hidden = 0, columns = 0;
  Cell cell = Cell::kTanh;
};

/// One step. Pointers are to column 0 of all columns; columns lie behind each other.
struct RecurrentStep {
  const float* gates = nullptr;        // [B, G H], the inputs' share
  const float* before = nullptr;       // [B, H], the hidden state
  float* after = nullptr;              // [B, H]
  const float* cell_before = nullptr;  // [B, H], kLstm
  float* cell_after = nullptr;
  bool backwards = false;  // from the last block to the first
};

struct RecurrenceFunctions {
  /// Hidden units of a block.
  int64_t (*block_units)(Cell cell) = nullptr;
  /// Packs the rows of a block (number `block`) of the weights.
  void (*pack)(const RecurrentLayer& plain, int64_t block, float* packed) = nullptr;
  /// The new state of the units of blocks [from, to).
  void (*step)(const RecurrentLayer& layer, const RecurrentStep& step, int64_t from, int64_t to) = nullptr;
};

/// The best for this CPU; nullptr functions where there are none.
RecurrenceFunctions recurrence_functions();

/// Gates of a unit.
constexpr int64_t gate_count(Cell cell) { return cell == Cell::kLstm ? 4 : cell == Cell::kGru ? 3 : 1; }

/// Takes every recurrence of contiguous F32 operands, if there are functions.
ggml_tensor* recurrence(ggml_context* ctx, const RecurrenceArgs& args, const RecurrenceFunctions& functions);

}  // namespace etggml::kernels
