// Tools for an operator's build function: its sources, its declared result, and the checks they share.
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "devices/types.h"
#include "ggml.h"
#include "graph/build.h"
#include "ir/graph.h"
#include "util/status.h"

namespace etggml::graph {

namespace fb = ir::fb;
using Shape = std::array<int64_t, 4>;

inline Shape shape_of(const ggml_tensor* t) { return {t->ne[0], t->ne[1], t->ne[2], t->ne[3]}; }
std::string shape_text(const Shape& ne);

/// State of one build() that nodes share.
struct BuildState {
  devices::TensorContexts& tensors;
  const ir::Graph& ir_graph;
  const std::vector<int64_t>& symbols;
  Leaves& leaves;
  const BuildOptions& options;
  std::vector<ggml_tensor*> values;
  std::vector<HostInput> host_inputs;
  std::vector<int64_t> index_limits;
  /// Values with a type that the weight file or the session decides. If a kernel does not take the type, the fault is
  /// in the file or the session, and not in the graph.
  std::vector<bool> open_type;
  /// Rope factors padded to the row length, by (source, length): shared by the layers of a model.
  std::map<std::pair<const ggml_tensor*, int64_t>, ggml_tensor*> padded_factors;
  /// By number of heads: see composed_attention.cpp.
  std::map<int64_t, ggml_tensor*> no_sinks;
};

class NodeBuilder {
 public:
  NodeBuilder(BuildState& state, uint32_t index);

  /// Where tensors are made. Good for TensorContexts::kRoom of them: a loop asks again in each round.
  ggml_context* ctx() const { return state_.tensors.room(); }
  BuildState& state() { return state_; }
  const BuildOptions& options() const { return state_.options; }
  const fb::Node& node() const { return node_; }
  uint32_t index() const { return index_; }
  uint32_t src_count() const { return ir::Graph::count(node_.src()); }
  ggml_tensor* src(uint32_t i) const { return state_.values[node_.src()->Get(i)]; }
  bool src_open(uint32_t i) const { return state_.open_type[node_.src()->Get(i)]; }
  /// Declared result shape.
  const Shape& ne() const { return ne_; }
  /// Declared result type; GGML_TYPE_COUNT when open (255).
  ggml_type type() const { return node_.type() == 255 ? GGML_TYPE_COUNT : static_cast<ggml_type>(node_.type()); }
  int64_t dim(int64_t encoded) const { return state_.ir_graph.dim(encoded, state_.symbols); }

  Status fail(const char* format, ...) const __attribute__((format(printf, 2, 3)));
  Status unsupported(const char* format, ...) const __attribute__((format(printf, 2, 3)));

  // Each of these is a precondition of a ggml builder or kernel; the message names the source.
  Status type_in(uint32_t src, std::initializer_list<ggml_type> types) const;
  Status type_problem(uint32_t src, const char* what) const;  // "src[0] is q4_K (weight 'x'): <what>"
  Status contiguous(uint32_t src) const;
  Status dense_rows(uint32_t src) const;    // nb[0] is the type's size
  Status contiguous_1(uint32_t src) const;  // rows at one distance, possibly padded
  Status same_shape(uint32_t a, uint32_t b) const;
  Status result_shape(const Shape& expected) const;
  Status elements_in_int() const;  // kernels that count elements in int

 private:
  Status message(etggml_status code, const char* format, va_list args) const;

  BuildState& state_;
  const uint32_t index_;
  const fb::Node& node_;
  const Shape ne_;
};

}  // namespace etggml::graph
