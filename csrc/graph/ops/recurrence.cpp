// Recurrent layers.
#include "graph/op_row.h"
#include "graph/unrolled.h"
#include "ir/validate.h"

namespace etggml::graph {
namespace {

Status check_recurrence(const ir::NodeCheck& c) {
  const auto& op = *c.node().op_as_Recurrence();
  ETGGML_RETURN_IF_ERROR(c.known("cell", op.cell(), fb::Cell_MIN, fb::Cell_MAX));
  const uint32_t sources = op.cell() == fb::Cell_Lstm ? 5 : 4;
  if (c.src_count() != sources) return c.fail("src has %u values, this cell takes %u", c.src_count(), sources);
  const int64_t steps = c.payload().shapes()->Get(c.src(1).shape())->ne()->Get(2);
  if (steps < 1 || steps > ir::kMaxSteps)
    return c.fail("the number of steps must be a literal from 1 to %lld", static_cast<long long>(ir::kMaxSteps));
  return ok_status();
}

// src: w [H, G H], gates [G H, B, T], bias [G H], hidden [H, B], cell state [H, B] (Lstm) -> [H, B, T (+ 1: Lstm)].
Result<ggml_tensor*> build_recurrence(NodeBuilder& b) {
  const auto* op = b.node().op_as_Recurrence();
  static_assert(fb::Cell_Tanh == 0 && fb::Cell_Relu == 1 && fb::Cell_Lstm == 2 && fb::Cell_Gru == 3, "as Cell");
  kernels::RecurrenceArgs args;
  args.w = b.src(0), args.gates = b.src(1), args.bias = b.src(2), args.hidden = b.src(3);
  args.cell = static_cast<kernels::Cell>(op->cell());
  args.reverse = op->reverse();
  const bool lstm = args.cell == kernels::Cell::kLstm;
  if (lstm) args.cell_state = b.src(4);
  for (uint32_t i = 0; i < b.src_count(); ++i) {
    ETGGML_RETURN_IF_ERROR(b.type_in(i, {GGML_TYPE_F32}));
    ETGGML_RETURN_IF_ERROR(b.contiguous(i));
    ETGGML_RETURN_IF_ERROR(b.dense_rows(i));
  }
  const int64_t hidden = args.w->ne[0], columns = args.gates->ne[1], steps = args.gates->ne[2];
  const int64_t rows = hidden * (lstm ? 4 : args.cell == kernels::Cell::kGru ? 3 : 1);
  const Shape shapes[] = {{hidden, rows, 1, 1},
                          {rows, columns, steps, 1},
                          {rows, 1, 1, 1},
                          {hidden, columns, 1, 1},
                          {hidden, columns, 1, 1}};
  for (uint32_t i = 0; i < b.src_count(); ++i) {
    if (shape_of(b.src(i)) != shapes[i]) {
      return b.fail("src[%u] has shape %s, expected %s", i, shape_text(shape_of(b.src(i))).c_str(),
                    shape_text(shapes[i]).c_str());
    }
  }
  ETGGML_RETURN_IF_ERROR(b.result_shape({hidden, columns, steps + (lstm ? 1 : 0), 1}));
  if (b.options().kernels) {
    if (ggml_tensor* ours = b.options().kernels->recurrence(b.ctx(), args)) return ours;
  }
  return unrolled(b, args);
}

}  // namespace

const OpRow kRecurrenceRow = row<fb::Op_Recurrence, build_recurrence, check_recurrence>();

}  // namespace etggml::graph
