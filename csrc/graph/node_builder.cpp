#include "graph/node_builder.h"

#include <cstdarg>

#include "ir/validate.h"

namespace etggml::graph {

using ll = long long;

std::string shape_text(const Shape& ne) {
  return format("[%lld, %lld, %lld, %lld]", static_cast<ll>(ne[0]), static_cast<ll>(ne[1]), static_cast<ll>(ne[2]),
                static_cast<ll>(ne[3]));
}

NodeBuilder::NodeBuilder(BuildState& state, uint32_t index)
    : state_(state),
      index_(index),
      node_(state.ir_graph.node(index)),
      ne_(state.ir_graph.node_shape(index, state.symbols)) {}

Status NodeBuilder::message(etggml_status code, const char* text, va_list args) const {
  return Status(code, state_.ir_graph.origin() + ": " + ir::node_name(state_.ir_graph.payload(), index_) + ": " +
                          vformat(text, args));
}

Status NodeBuilder::fail(const char* text, ...) const {
  va_list args;
  va_start(args, text);
  Status status = message(ETGGML_FORMAT, text, args);
  va_end(args);
  return status;
}

Status NodeBuilder::unsupported(const char* text, ...) const {
  va_list args;
  va_start(args, text);
  Status status = message(ETGGML_UNSUPPORTED, text, args);
  va_end(args);
  return status;
}

Status NodeBuilder::type_problem(uint32_t i, const char* what) const {
  const std::string source = ir::node_name(state_.ir_graph.payload(), node_.src()->Get(i));
  const char* type = ggml_type_name(src(i)->type);
  return src_open(i) ? unsupported("src[%u], %s, is %s: %s", i, source.c_str(), type, what)
                     : fail("src[%u], %s, is %s: %s", i, source.c_str(), type, what);
}

Status NodeBuilder::type_in(uint32_t i, std::initializer_list<ggml_type> types) const {
  std::string accepted;
  for (ggml_type t : types) {
    if (src(i)->type == t) return ok_status();
    accepted += accepted.empty() ? "expected " : " or ";
    accepted += ggml_type_name(t);
  }
  return type_problem(i, accepted.c_str());
}

Status NodeBuilder::contiguous(uint32_t i) const {
  return ggml_is_contiguous(src(i)) ? ok_status() : fail("src[%u] is not contiguous", i);
}

Status NodeBuilder::dense_rows(uint32_t i) const {
  return src(i)->nb[0] == ggml_type_size(src(i)->type) ? ok_status()
                                                       : fail("the rows of src[%u] are not contiguous", i);
}

Status NodeBuilder::contiguous_1(uint32_t i) const {
  return ggml_is_contiguous_1(src(i)) && src(i)->nb[0] == ggml_type_size(src(i)->type)
             ? ok_status()
             : fail("the rows of src[%u] are not contiguous and evenly spaced", i);
}

Status NodeBuilder::same_shape(uint32_t a, uint32_t b) const {
  if (ggml_are_same_shape(src(a), src(b))) return ok_status();
  return fail("src[%u] has shape %s, src[%u] has %s; they must be the same", a, shape_text(shape_of(src(a))).c_str(), b,
              shape_text(shape_of(src(b))).c_str());
}

Status NodeBuilder::result_shape(const Shape& expected) const {
  if (expected == ne_) return ok_status();
  return fail("shape says %s, its sources give %s", shape_text(ne_).c_str(), shape_text(expected).c_str());
}

Status NodeBuilder::elements_in_int() const {
  return ir::element_count(ne_) <= INT32_MAX ? ok_status() : fail("more than 2^31 - 1 elements cannot be copied");
}

}  // namespace etggml::graph
