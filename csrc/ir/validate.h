// Semantic validation of a payload that the FlatBuffers verifier has accepted. One concern per file:
// symbols, expressions and shapes (validate_shapes.cpp), boundary and storage tables (validate_tables.cpp), nodes
// (validate_nodes.cpp; their fields: node_check.h), which integers index rows (index_flow.cpp), strided layouts at
// concrete symbols (layout.cpp).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "flatbuffers/flatbuffers.h"
#include "ir/expr.h"
#include "ir/graph.h"
#include "util/status.h"

namespace etggml::ir {

class Validator {
 public:
  Validator(Graph* ir_graph, const FieldChecks& checks) : p_(*ir_graph), g_(*ir_graph->payload_), checks_(checks) {}

  /// Everything, in an order in which each step may rely on the ones before it. Fills the graph's derived tables.
  Status run();

 private:
  friend class NodeCheck;

  Status version();
  // validate_shapes.cpp
  Status symbol_bounds();
  bool is_dimension(uint32_t symbol) const;
  Status expressions();
  Status dimension(int64_t dim, const std::string& where) const;
  Status dimensions(const flatbuffers::Vector<int64_t>* dims, const std::string& where) const;
  Status shapes();
  Status literal_shape(uint32_t index, const std::string& where) const;
  Status symbol_sources();
  // validate_tables.cpp
  Status name(const flatbuffers::String* text, const std::string& where, bool required) const;
  Status inputs();
  Status outputs();
  Status weights();
  Status states();
  Status constants();
  Status expectations();
  Status storage_type(int type, uint32_t shape, const std::string& where) const;
  // validate_nodes.cpp
  Status nodes();
  Status node_common(uint32_t index);
  Status effects();
  Status liveness();
  // index_flow.cpp
  Status index_flow();

  Status fail(const char* format, ...) const __attribute__((format(printf, 2, 3)));
  Status node_fail(uint32_t node, const char* format, ...) const __attribute__((format(printf, 3, 4)));

  Graph& p_;
  const fb::Graph& g_;
  const FieldChecks& checks_;
  std::vector<Interval> ranges_;  // of the expressions
};

/// The fault of a shape at concrete symbols, empty if there is none. Every dimension is in 1..kMaxDim, rows fit an int,
/// and elements are below kMaxElements.
std::string shape_problem(const std::array<int64_t, 4>& ne);

/// Product of dimensions, saturating at INT64_MAX; negative dimensions count as 0.
int64_t element_count(const int64_t* dims, size_t n);
inline int64_t element_count(const std::array<int64_t, 4>& ne) { return element_count(ne.data(), 4); }

/// Whether ggml knows the type number (removed types have no blocks).
bool type_known(int type);

/// Checks shapes, views and boundary sizes at concrete symbols; `when` is appended to messages ("at the lower bounds
/// ...").
Status check_layout(const Graph& ir_graph, const std::vector<int64_t>& symbols, etggml_status code, const char* when);

}  // namespace etggml::ir
