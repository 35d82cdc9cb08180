#include "graph/op_row.h"

namespace etggml::graph {
namespace {

const OpRow* const kRows[] = {nullptr,  // NONE
#define ETGGML_ROW(name, ...) &k##name##Row,
                              ETGGML_IR_OPERATORS(ETGGML_ROW)
#undef ETGGML_ROW
};

}  // namespace

const OpRow& row_of(fb::Op op) { return *kRows[op]; }

const ir::FieldChecks& field_checks() {
  static const ir::FieldChecks checks = [] {
    ir::FieldChecks all{};
    for (size_t i = 1; i < all.size(); ++i) all[i] = kRows[i]->check;
    return all;
  }();
  return checks;
}

}  // namespace etggml::graph
