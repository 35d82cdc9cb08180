#include "kernels/recurrence.h"

#include <algorithm>
#include <thread>

#include "kernels/custom_op.h"
#include "kernels/kernel_guard.h"
#include "util/cpu.h"

namespace etggml::graph {
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
    s.backwards = i % 2 != 0;  // what the step before read last is still in the cache, where not all weights fit
    f.step(layer, s, blocks * thread / used, blocks * (thread + 1) / used);
    if (!meeting.finish(i)) return;
    s.before = s.after;
    s.cell_before = s.cell_after;  // a unit's own, so no other thread touches it
  }
}

}  // namespace

RecurrenceFunctions recurrence_functions() {
  if (cpu_has_avx512()) {
    if (const RecurrenceFunctions functions = recurrence_avx512(); functions.pack) return functions;
  }
  return cpu_has_avx2() ? recurrence_avx2() : RecurrenceFunctions();
}

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

}  // namespace etggml::graph
