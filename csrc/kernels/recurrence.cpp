#include "kernels/recurrence.h"

#include <algorithm>
#include <thread>

#include "kernels/custom_op.h"
#include "kernels/kernel_guard.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/recurrence.cpp"
#include "hwy/foreach_target.h"  // reads this file for every target
// after it
#include "kernels/simd_math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace etggml::kernels::HWY_NAMESPACE {
namespace {

#if ETGGML_SIMD

// Columns at a time: with four registers of sums for each they fill the registers there are.
constexpr int kMaxColumns = kRegisters == 32 ? 6 : 3;

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
      const Mask mask = first_lanes(depth);
      Reg t[kW];
      for (int i = 0; i < kW; ++i) {
        t[i] = unit + i < hidden ? load(layer.w + (row + i) * hidden + k, mask) : zero();
      }
      transpose(t);
      for (int i = 0; i < depth; ++i) store(packed + ((k + i) * sums + v) * kW, t[i]);
    }
  }
}

/// y[v][c] = packed rows of one block times column c of x. A function of its own: among the caller's variables the
/// compiler no longer keeps the sums in registers.
template <int V, int C>
HWY_NOINLINE void multiply(const float* w, const float* x, int64_t stride, int64_t depth, float* y) {
  // One column alone leaves too few sums to hide the latency of a fused multiplication.
  constexpr int kParts = C == 1 ? 4 : C == 2 ? 2 : 1;
  Reg acc[kParts][V][C];
  HWY_UNROLL(4)
  for (int p = 0; p < kParts; ++p) {
    HWY_UNROLL(4)
    for (int v = 0; v < V; ++v) {
      HWY_UNROLL(6)
      for (int c = 0; c < C; ++c) acc[p][v][c] = zero();
    }
  }
  const auto element = [&](int64_t k, Reg(&sums)[V][C]) HWY_ATTR {
    Reg a[C];
    HWY_UNROLL(6)
    for (int c = 0; c < C; ++c) a[c] = set(x[c * stride + k]);
    HWY_UNROLL(4)
    for (int v = 0; v < V; ++v) {
      const Reg row = load(w + (k * V + v) * kW);
      HWY_UNROLL(6)
      for (int c = 0; c < C; ++c) sums[v][c] = hn::MulAdd(row, a[c], sums[v][c]);
    }
  };
  int64_t k = 0;
  for (; k + kParts <= depth; k += kParts) {
    HWY_UNROLL(4)
    for (int p = 0; p < kParts; ++p) element(k + p, acc[p]);
  }
  for (; k < depth; ++k) element(k, acc[0]);
  HWY_UNROLL(4)
  for (int v = 0; v < V; ++v) {
    HWY_UNROLL(6)
    for (int c = 0; c < C; ++c) {
      Reg sum = acc[0][v][c];
      HWY_UNROLL(4)
      for (int p = 1; p < kParts; ++p) sum = hn::Add(sum, acc[p][v][c]);
      store(y + (c * kMaxSums + v) * kW, sum);
    }
  }
}

/// New state of kW units (fewer under a mask) of one column from their sums.
template <Cell kind>
inline void finish(const RecurrentLayer& layer, const RecurrentStep& s, int64_t column, int64_t unit, const float* sums,
                   int distance) {
  const int64_t hidden = layer.hidden, gates = gate_count(kind) * hidden, at = column * hidden + unit;
  const Mask mask = first_lanes(hidden - unit < kW ? static_cast<int>(hidden - unit) : kW);
  const auto inputs = [&](int64_t g) HWY_ATTR { return load(s.gates + column * gates + g * hidden + unit, mask); };
  const auto own = [&](int64_t g) HWY_ATTR {
    return hn::Add(load(sums + g * distance), load(layer.bias + g * hidden + unit, mask));
  };
  const auto gate = [&](int64_t g) HWY_ATTR { return hn::Add(inputs(g), own(g)); };
  if (kind == Cell::kTanh) {
    store(s.after + at, tanh(gate(0)), mask);
  } else if (kind == Cell::kRelu) {
    store(s.after + at, maximum(zero(), gate(0)), mask);  // the order lets NaN through
  } else if (kind == Cell::kLstm) {
    const Reg keep = hn::Mul(sigmoid(gate(1)), load(s.cell_before + at, mask));
    const Reg cell = hn::Add(keep, hn::Mul(sigmoid(gate(0)), tanh(gate(2))));
    store(s.cell_after + at, cell, mask);
    store(s.after + at, hn::Mul(sigmoid(gate(3)), tanh(cell)), mask);
  } else {
    const Reg reset = sigmoid(gate(0)), update = sigmoid(gate(1));
    const Reg fresh = tanh(hn::MulAdd(reset, own(2), inputs(2)));
    const Reg before = load(s.before + at, mask);
    store(s.after + at, hn::MulAdd(hn::Sub(before, fresh), update, fresh), mask);
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

RecurrenceFunctions of_target() { return {block_units, pack_block, step}; }

#else

RecurrenceFunctions of_target() { return {}; }

#endif

}  // namespace
}  // namespace etggml::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace etggml::kernels {
namespace {

// Multiplications of a step that are worth a thread of their own: the threads meet after every step.
constexpr int64_t kThreadWork = 1 << 16;

struct Params {
  Cell cell;
  int32_t reverse;
};

RecurrentLayer layer_of(const ggml_tensor* w, Cell cell, int64_t columns) {
  RecurrentLayer layer;
  layer.w = static_cast<const float*>(w->data);
  layer.hidden = w->ne[1] / gate_count(cell);
  layer.columns = columns;
  layer.cell = cell;
  return layer;
}

int64_t block_count(const RecurrenceFunctions& f, Cell cell, int64_t hidden) {
  const int64_t units = f.block_units(cell);
  return (hidden + units - 1) / units;
}

void pack(ggml_tensor* packed, int thread, int threads, void* user) {
  const auto& f = *static_cast<const RecurrenceFunctions*>(user);
  const auto cell = custom_op_params<Cell>(packed);
  const RecurrentLayer layer = layer_of(packed->src[0], cell, 1);
  const int64_t blocks = packed->ne[1];
  for (int64_t block = blocks * thread / threads; block < blocks * (thread + 1) / threads; ++block) {
    if (stopped(packed, thread)) return;
    f.pack(layer, block, static_cast<float*>(packed->data) + block * packed->ne[0]);
  }
}

/// Where the threads of one node meet after each step. The counter lies in the node, behind its parameters, and is 0
/// again when all have come to the end; not when the call ended early.
class Steps {
 public:
  Steps(ggml_tensor* y, int thread, int threads, int64_t steps)
      : y_(y),
        arrived_(
            reinterpret_cast<int32_t*>(reinterpret_cast<char*>(y->op_params) + GGML_MAX_OP_PARAMS - sizeof(int32_t))),
        thread_(thread),
        threads_(threads),
        last_(static_cast<int32_t>(threads * steps - 1)) {}

  /// False when the call is to end: then the others may not come.
  bool finish(int64_t step) {
    if (stopped(y_, thread_)) return false;
    if (threads_ == 1) return true;
    if (__atomic_fetch_add(arrived_, 1, __ATOMIC_ACQ_REL) == last_) {
      __atomic_store_n(arrived_, 0, __ATOMIC_RELEASE);  // all others have passed every meeting but this one
      return true;
    }
    const auto all = static_cast<int32_t>((step + 1) * threads_);
    if (all > last_) return true;  // ggml's barrier comes
    constexpr int kSpins = 2000;
    for (int spins = 0; __atomic_load_n(arrived_, __ATOMIC_ACQUIRE) < all; ++spins) {
      if (spins < kSpins) continue;
      if (stopped(y_, thread_)) return false;
      std::this_thread::yield();  // the machine may hold up the other one
    }
    return true;
  }

 private:
  const ggml_tensor* y_;
  int32_t* arrived_;
  int thread_, threads_;
  int32_t last_;
};

void compute(ggml_tensor* y, int thread, int threads, void* user) {
  static_assert(kCustomOpParams + sizeof(Params) <= GGML_MAX_OP_PARAMS - sizeof(int32_t), "no room for the counter");
  const auto& f = *static_cast<const RecurrenceFunctions*>(user);
  const auto params = custom_op_params<Params>(y);
  const ggml_tensor *packed = y->src[0], *gates = y->src[1];
  RecurrentLayer layer;
  layer.w = static_cast<const float*>(packed->data);
  layer.bias = static_cast<const float*>(y->src[2]->data);
  layer.hidden = y->ne[0];
  layer.columns = y->ne[1];
  layer.cell = params.cell;
  const int64_t steps = gates->ne[2], state = y->ne[0] * y->ne[1], blocks = block_count(f, params.cell, layer.hidden);
  const int64_t work = layer.hidden * gates->ne[0] * layer.columns;
  const auto used = static_cast<int>(std::clamp<int64_t>(work / kThreadWork, 1, std::min<int64_t>(threads, blocks)));
  if (thread >= used) return;
  auto* result = static_cast<float*>(y->data);
  RecurrentStep s;
  s.before = static_cast<const float*>(y->src[3]->data);
  if (params.cell == Cell::kLstm) {
    s.cell_before = static_cast<const float*>(y->src[4]->data);
    s.cell_after = result + steps * state;
  }
  Steps meeting(y, thread, used, steps);
  for (int64_t i = 0; i < steps; ++i) {
    const int64_t t = params.reverse ? steps - 1 - i : i;
    s.gates = static_cast<const float*>(gates->data) + t * gates->ne[0] * gates->ne[1];
    s.after = result + t * state;
    s.backwards = i % 2 != 0;  // the last blocks of the step before are still in the cache
    f.step(layer, s, blocks * thread / used, blocks * (thread + 1) / used);
    if (!meeting.finish(i)) return;
    s.before = s.after;
    s.cell_before = s.cell_after;  // a unit's own, so no other thread touches it
  }
}

}  // namespace

HWY_EXPORT(of_target);

RecurrenceFunctions recurrence_functions() { return HWY_DYNAMIC_DISPATCH(of_target)(); }

ggml_tensor* recurrence(ggml_context* ctx, const RecurrenceArgs& args, const RecurrenceFunctions& functions) {
  if (!functions.pack) return nullptr;
  void* user = const_cast<RecurrenceFunctions*>(&functions);
  const int64_t hidden = args.w->ne[0], block = functions.block_units(args.cell) * gate_count(args.cell) * hidden;
  ggml_tensor* w = args.w;
  ggml_tensor* packed = ggml_custom_4d(ctx, GGML_TYPE_F32, block, block_count(functions, args.cell, hidden), 1, 1, &w,
                                       1, guarded_kernel<pack>, GGML_N_TASKS_MAX, user);
  set_custom_op(packed, "PACK_RECURRENT", args.cell);
  ggml_tensor* sources[5] = {packed, args.gates, args.bias, args.hidden, args.cell_state};
  const bool lstm = args.cell == Cell::kLstm;
  ggml_tensor* y = ggml_custom_4d(ctx, GGML_TYPE_F32, hidden, args.gates->ne[1], args.gates->ne[2] + (lstm ? 1 : 0), 1,
                                  sources, lstm ? 5 : 4, guarded_kernel<compute>, GGML_N_TASKS_MAX, user);
  constexpr const char* kNames[] = {"RNN_TANH", "RNN_RELU", "LSTM", "GRU"};
  set_custom_op(y, kNames[static_cast<int>(args.cell)], Params{args.cell, args.reverse ? 1 : 0});
  return y;
}

}  // namespace etggml::kernels
#endif  // HWY_ONCE
