#include "graph/unrolled.h"

#include <utility>
#include <vector>

#include "graph/product.h"

namespace etggml::graph {
namespace {

/// Parts of a result, joined so that no more of them are alive at one time than a number of steps has digits.
class Joined {
 public:
  Joined(NodeBuilder& b, bool backwards) : b_(b), backwards_(backwards) {}

  void add(ggml_tensor* part) {
    parts_.emplace_back(part, 1);
    while (parts_.size() > 1 && parts_[parts_.size() - 2].second == parts_.back().second) join();
  }

  ggml_tensor* finish() {
    while (parts_.size() > 1) join();
    return parts_[0].first;
  }

 private:
  void join() {
    const auto [late, count] = parts_.back();
    parts_.pop_back();
    auto& [early, before] = parts_.back();
    early = backwards_ ? ggml_concat(b_.ctx(), late, early, 2) : ggml_concat(b_.ctx(), early, late, 2);
    before += count;
  }

  NodeBuilder& b_;
  bool backwards_;
  std::vector<std::pair<ggml_tensor*, int64_t>> parts_;
};

/// `count` gates from number `first` on, packed: kernels of other devices want their sources so.
ggml_tensor* gates_of(ggml_context* ctx, ggml_tensor* all, int64_t hidden, int64_t first, int64_t count) {
  return ggml_cont(ctx, ggml_view_2d(ctx, all, count * hidden, all->ne[1], all->nb[1],
                                     static_cast<size_t>(first * hidden) * sizeof(float)));
}

struct State {
  ggml_tensor *hidden, *cell;
};

State step(NodeBuilder& b, const kernels::RecurrenceArgs& args, ggml_tensor* inputs, const State& s) {
  ggml_context* ctx = b.ctx();
  const int64_t n = args.w->ne[0];
  ggml_tensor* own = ggml_add(ctx, product(b, args.w, s.hidden), args.bias);
  switch (args.cell) {
    case kernels::Cell::kTanh:
      return {ggml_tanh(ctx, ggml_add(ctx, own, inputs)), nullptr};
    case kernels::Cell::kRelu:
      return {ggml_relu(ctx, ggml_add(ctx, own, inputs)), nullptr};
    case kernels::Cell::kLstm: {
      ggml_tensor* all = ggml_add(ctx, own, inputs);
      ggml_tensor* in = ggml_sigmoid(ctx, gates_of(ctx, all, n, 0, 1));
      ggml_tensor* keep = ggml_sigmoid(ctx, gates_of(ctx, all, n, 1, 1));
      ggml_tensor* fresh = ggml_tanh(ctx, gates_of(ctx, all, n, 2, 1));
      ggml_tensor* out = ggml_sigmoid(ctx, gates_of(ctx, all, n, 3, 1));
      ggml_tensor* cell = ggml_add(ctx, ggml_mul(ctx, keep, s.cell), ggml_mul(ctx, in, fresh));
      return {ggml_mul(ctx, out, ggml_tanh(ctx, cell)), cell};
    }
    case kernels::Cell::kGru: {
      ggml_tensor* both = ggml_add(ctx, own, inputs);
      ggml_tensor* reset = ggml_sigmoid(ctx, gates_of(ctx, both, n, 0, 1));
      ggml_tensor* update = ggml_sigmoid(ctx, gates_of(ctx, both, n, 1, 1));
      ggml_tensor* part = ggml_mul(ctx, reset, gates_of(ctx, own, n, 2, 1));
      ggml_tensor* fresh = ggml_tanh(ctx, ggml_add(ctx, gates_of(ctx, inputs, n, 2, 1), part));
      return {ggml_add(ctx, fresh, ggml_mul(ctx, update, ggml_sub(ctx, s.hidden, fresh))), nullptr};
    }
  }
  return s;
}

}  // namespace

ggml_tensor* unrolled(NodeBuilder& b, const kernels::RecurrenceArgs& args) {
  ggml_tensor* gates = args.gates;
  const int64_t steps = gates->ne[2], columns = gates->ne[1];
  State state{args.hidden, args.cell_state};
  Joined joined(b, args.reverse);
  for (int64_t i = 0; i < steps; ++i) {
    const auto t = static_cast<size_t>(args.reverse ? steps - 1 - i : i);
    state = step(b, args, ggml_view_2d(b.ctx(), gates, gates->ne[0], columns, gates->nb[1], t * gates->nb[2]), state);
    joined.add(ggml_reshape_3d(b.ctx(), state.hidden, args.w->ne[0], columns, 1));
  }
  ggml_tensor* all = joined.finish();
  if (!state.cell) return all;
  ggml_context* ctx = b.ctx();
  return ggml_concat(ctx, all, ggml_reshape_3d(ctx, state.cell, args.w->ne[0], columns, 1), 2);
}

}  // namespace etggml::graph
