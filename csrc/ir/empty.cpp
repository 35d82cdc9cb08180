// Calls with tensors that have no elements. ggml has none, so their graph is built as if there were one entry, and its
// result is thrown away. That is right as long as no result with elements depends on a tensor without any.
#include "ir/expr.h"
#include "ir/graph.h"
#include "ir/validate.h"

namespace etggml::ir {
namespace {

using ll = long long;

/// Whether a Dim is computed from a symbol that is 0.
class Dims {
 public:
  Dims(const fb::Graph& graph, const std::vector<int64_t>& symbols) : graph_(graph), symbols_(symbols) {}

  bool depends(int64_t dim) const {
    if (dim >= 0) return false;
    for (const fb::ExprOp* op : *graph_.exprs()->Get(static_cast<uint32_t>(-(dim + 1)))->code()) {
      if (op->code() == fb::ExprCode_Symbol && symbols_[static_cast<size_t>(op->arg())] == 0) return true;
    }
    return false;
  }
  bool depends(const flatbuffers::Vector<int64_t>* dims) const {
    for (uint32_t i = 0; i < Graph::count(dims); ++i) {
      if (depends(dims->Get(i))) return true;
    }
    return false;
  }

 private:
  const fb::Graph& graph_;
  const std::vector<int64_t>& symbols_;
};

}  // namespace

bool Graph::may_be_empty(uint32_t symbol) const {
  return payload_->symbols()->Get(symbol)->min() == 0 && symbol_min_[symbol] == 1;
}

Result<std::vector<int64_t>> Graph::stand_in(const std::vector<int64_t>& symbols) const {
  std::vector<int64_t> result = symbols;
  uint32_t first = symbol_count();
  for (uint32_t i = symbol_count(); i-- > 0;) {
    if (symbols[i] != 0 || !may_be_empty(i)) continue;
    result[i] = symbol_min_[i];
    first = i;
  }
  if (first == symbol_count()) return result;

  const Dims zero(*payload_, symbols);
  std::vector<bool> depends(node_count(), false);
  uint32_t wrong = node_count();
  for (uint32_t i = 0; i < node_count(); ++i) {
    const fb::Node& n = node(i);
    depends[i] = zero.depends(payload_->shapes()->Get(n.shape())->ne());
    if (const auto* view = n.op_as_View()) {
      depends[i] = depends[i] || zero.depends(view->offset()) || zero.depends(view->strides());
    }
    for (uint32_t s = 0; s < count(n.src()); ++s) depends[i] = depends[i] || depends[n.src()->Get(s)];
    if (facts_of(n.op_type()).writes && depends[i] && live_[i] && wrong == node_count()) wrong = i;
  }
  for (uint32_t i = 0; i < output_count(); ++i) {
    const fb::Output& output = *payload_->outputs()->Get(i);
    const std::vector<int64_t> actual = dims(output.dims(), symbols);
    if (depends[output.value()] && element_count(actual.data(), actual.size()) > 0 && wrong == node_count())
      wrong = output.value();
  }
  if (wrong == node_count()) return result;
  return error(ETGGML_SHAPE,
               "%s: '%s' is 0, and %s, which has elements, is computed from a tensor without any; this graph accepts "
               "%lld..%lld there",
               origin_.c_str(), payload_->symbols()->Get(first)->name()->c_str(), node_name(*payload_, wrong).c_str(),
               static_cast<ll>(symbol_min_[first]), static_cast<ll>(symbol_max_[first]));
}

}  // namespace etggml::ir
