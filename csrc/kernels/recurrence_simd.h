// The steps of a recurrent layer in registers. After simd_*.h; unnamed namespace: see there.
#pragma once

#include "kernels/recurrence.h"
#include "kernels/simd_math.h"

namespace {

using etggml::graph::Cell;
using etggml::graph::gate_count;
using etggml::graph::RecurrenceFunctions;
using etggml::graph::RecurrentLayer;
using etggml::graph::RecurrentStep;

// Columns at a time: with four registers of sums for each they fill the registers there are.
constexpr int kMaxColumns = Simd::kRegisters == 32 ? 6 : 3;

/// Registers of units in a block: cells of one gate take four, for as many sums as the others have.
constexpr int units_of(Cell cell) { return gate_count(cell) == 1 ? 4 : 1; }

/// Sums of a block: register v holds gate v / U of units [v % U * kW, ...).
constexpr int kMaxSums = 4;

int64_t block_units(Cell cell) { return units_of(cell) * kW; }

void pack_block(const RecurrentLayer& layer, int64_t block, float* packed) {
  const int units = units_of(layer.cell), sums = static_cast<int>(gate_count(layer.cell)) * units;
  const int64_t hidden = layer.hidden, first = block * units * kW;
  for (int v = 0; v < sums; ++v) {
    const int64_t unit = first + v % units * kW, row = v / units * hidden + unit;
    for (int64_t k = 0; k < hidden; k += kW) {
      const int depth = hidden - k < kW ? static_cast<int>(hidden - k) : kW;
      const Simd::Mask mask = Simd::first(depth);
      Reg t[kW];
      for (int i = 0; i < kW; ++i) {
        t[i] = unit + i < hidden ? Simd::load(layer.w + (row + i) * hidden + k, mask) : Simd::zero();
      }
      Simd::transpose(t);
      for (int i = 0; i < depth; ++i) Simd::store(packed + ((k + i) * sums + v) * kW, t[i]);
    }
  }
}

/// y[v][c] = packed rows of one block times column c of x. A function of its own: among the caller's variables the
/// compiler no longer keeps the sums in registers.
template <int V, int C>
__attribute__((noinline)) void multiply(const float* w, const float* x, int64_t stride, int64_t depth, float* y) {
  // One column alone leaves too few sums to hide the latency of a fused multiplication.
  constexpr int kParts = C == 1 ? 4 : C == 2 ? 2 : 1;
  Reg acc[kParts][V][C];
#pragma GCC unroll 4
  for (int p = 0; p < kParts; ++p) {
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) {
#pragma GCC unroll 6
      for (int c = 0; c < C; ++c) acc[p][v][c] = Simd::zero();
    }
  }
  const auto element = [&](int64_t k, Reg(&sums)[V][C]) {
    Reg a[C];
#pragma GCC unroll 6
    for (int c = 0; c < C; ++c) a[c] = Simd::set(x[c * stride + k]);
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) {
      const Reg row = Simd::load(w + (k * V + v) * kW);
#pragma GCC unroll 6
      for (int c = 0; c < C; ++c) sums[v][c] = Simd::fma(row, a[c], sums[v][c]);
    }
  };
  int64_t k = 0;
  for (; k + kParts <= depth; k += kParts) {
#pragma GCC unroll 4
    for (int p = 0; p < kParts; ++p) element(k + p, acc[p]);
  }
  for (; k < depth; ++k) element(k, acc[0]);
#pragma GCC unroll 4
  for (int v = 0; v < V; ++v) {
#pragma GCC unroll 6
    for (int c = 0; c < C; ++c) {
      Reg sum = acc[0][v][c];
#pragma GCC unroll 4
      for (int p = 1; p < kParts; ++p) sum = Simd::add(sum, acc[p][v][c]);
      Simd::store(y + (c * kMaxSums + v) * kW, sum);
    }
  }
}

/// New state of kW units (fewer under a mask) of one column from their sums.
template <Cell kind>
inline void finish(const RecurrentLayer& layer, const RecurrentStep& s, int64_t column, int64_t unit, const float* sums,
                   int distance) {
  const int64_t hidden = layer.hidden, gates = gate_count(kind) * hidden, at = column * hidden + unit;
  const Simd::Mask mask = Simd::first(hidden - unit < kW ? static_cast<int>(hidden - unit) : kW);
  const auto inputs = [&](int64_t g) { return Simd::load(s.gates + column * gates + g * hidden + unit, mask); };
  const auto own = [&](int64_t g) {
    return Simd::add(Simd::load(sums + g * distance), Simd::load(layer.bias + g * hidden + unit, mask));
  };
  const auto gate = [&](int64_t g) { return Simd::add(inputs(g), own(g)); };
  if (kind == Cell::kTanh) {
    Simd::store(s.after + at, tanh(gate(0)), mask);
  } else if (kind == Cell::kRelu) {
    Simd::store(s.after + at, Simd::max(Simd::zero(), gate(0)), mask);  // the order lets NaN through
  } else if (kind == Cell::kLstm) {
    const Reg keep = Simd::mul(sigmoid(gate(1)), Simd::load(s.cell_before + at, mask));
    const Reg cell = Simd::add(keep, Simd::mul(sigmoid(gate(0)), tanh(gate(2))));
    Simd::store(s.cell_after + at, cell, mask);
    Simd::store(s.after + at, Simd::mul(sigmoid(gate(3)), tanh(cell)), mask);
  } else {
    const Reg reset = sigmoid(gate(0)), update = sigmoid(gate(1));
    const Reg fresh = tanh(Simd::fma(reset, own(2), inputs(2)));
    const Reg before = Simd::load(s.before + at, mask);
    Simd::store(s.after + at, Simd::fma(Simd::sub(before, fresh), update, fresh), mask);
  }
}

template <Cell kind, int C>
inline void block_step(const RecurrentLayer& layer, const RecurrentStep& s, int64_t block, int64_t column) {
  constexpr int units = units_of(kind), V = static_cast<int>(gate_count(kind)) * units;
  alignas(64) float sums[C * kMaxSums * kW];
  const int64_t hidden = layer.hidden;
  multiply<V, C>(layer.w + block * V * kW * hidden, s.before + column * hidden, hidden, hidden, sums);
  for (int c = 0; c < C; ++c) {
    for (int u = 0; u < units; ++u) {
      const int64_t unit = (block * units + u) * kW;
      if (unit < hidden) finish<kind>(layer, s, column + c, unit, sums + (c * kMaxSums + u) * kW, units * kW);
    }
  }
}

template <Cell kind>
void step_of(const RecurrentLayer& layer, const RecurrentStep& s, int64_t from, int64_t to) {
  for (int64_t i = from; i < to; ++i) {
    const int64_t block = s.backwards ? from + to - 1 - i : i;
    // The block's weights stay in the nearest cache while the columns pass.
    for (int64_t column = 0; column < layer.columns;) {
      const int64_t left = layer.columns - column;
      switch (left < kMaxColumns ? left : kMaxColumns) {
        case 1:
          block_step<kind, 1>(layer, s, block, column);
          break;
        case 2:
          block_step<kind, 2>(layer, s, block, column);
          break;
        case 3:
          block_step<kind, 3>(layer, s, block, column);
          break;
        case 4:
          block_step < kind, kMaxColumns<4 ? kMaxColumns : 4>(layer, s, block, column);
          break;
        case 5:
          block_step < kind, kMaxColumns<5 ? kMaxColumns : 5>(layer, s, block, column);
          break;
        default:
          block_step<kind, kMaxColumns>(layer, s, block, column);
      }
      column += left < kMaxColumns ? left : kMaxColumns;
    }
  }
}

void step(const RecurrentLayer& layer, const RecurrentStep& s, int64_t from, int64_t to) {
  switch (layer.cell) {
    case Cell::kTanh:
      return step_of<Cell::kTanh>(layer, s, from, to);
    case Cell::kRelu:
      return step_of<Cell::kRelu>(layer, s, from, to);
    case Cell::kLstm:
      return step_of<Cell::kLstm>(layer, s, from, to);
    case Cell::kGru:
      return step_of<Cell::kGru>(layer, s, from, to);
  }
}

RecurrenceFunctions recurrence_of_this_width() { return {block_units, pack_block, step}; }

}  // namespace
