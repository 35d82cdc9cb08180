// A row for each operator of the IR, beside its build function in ops/<family>.cpp. The union Op of the schema is the
// list of operators: a member without a row does not link.
#pragma once

#include "graph/node_builder.h"
#include "ir/node_check.h"
#include "ir/operators.h"

namespace etggml::graph {

/// Checks every precondition of ggml's builder and kernels, then makes the node's tensors. Returns the value.
using OpFunction = Result<ggml_tensor*> (*)(NodeBuilder&);

/// Beside these, an operator is the facts that the schema states (ir/operators.h).
struct OpRow {
  OpFunction build;
  ir::FieldCheck check;  // nullptr without fields
};

template <fb::Op kOp, OpFunction kBuild, ir::FieldCheck kCheck = nullptr>
constexpr OpRow row() {
  static_assert(
      (kCheck != nullptr) == ir::facts_of(kOp).has_fields,
      "an operator has a check if it has fields: ranges of numbers, known kinds; any_fields if all are right");
  return {kBuild, kCheck};
}

/// The check of an operator for which every value of its fields is right.
inline Status any_fields(const ir::NodeCheck&) { return ok_status(); }

#define ETGGML_DECLARE(name, ...) extern const OpRow k##name##Row;
ETGGML_IR_OPERATORS(ETGGML_DECLARE)
#undef ETGGML_DECLARE

/// Of an operator that this reader knows.
const OpRow& row_of(fb::Op op);

/// The checks of all rows, for ir::Graph::parse().
const ir::FieldChecks& field_checks();

}  // namespace etggml::graph
