// Tools for the check of an operator's fields. The checks stand in the operators' rows (graph/op_row.h), above
// this layer, and are handed to Graph::parse().
#pragma once

#include <cstdint>
#include <initializer_list>

#include "ir/graph.h"
#include "util/status.h"

namespace etggml::ir {

class Validator;

/// One node. The number of its sources is right, they are nodes before it, its shape exists and its type is known.
class NodeCheck {
 public:
  NodeCheck(const Validator& validator, uint32_t index);

  const fb::Graph& payload() const;
  const fb::Node& node() const { return node_; }
  uint32_t src_count() const { return Graph::count(node_.src()); }
  const fb::Node& src(uint32_t i) const;

  /// ETGGML_FORMAT; names the payload and the node.
  Status fail(const char* format, ...) const __attribute__((format(printf, 2, 3)));

  /// Dims of a field refer to expressions that exist.
  Status dimension(int64_t dim, const char* field) const;
  Status dimensions(const flatbuffers::Vector<int64_t>* dims, const char* field) const;
  /// A leaf has the type and the shape, of literal dimensions, of its slot: "slot" or "constant".
  Status same_as(const char* owner, uint8_t type, uint32_t shape) const;
  /// min <= value <= max, "kind 7 is unknown".
  Status known(const char* field, int value, int min, int max) const;
  Status epilogue(const fb::Epilogue* then) const;

 private:
  const Validator& validator_;
  const uint32_t index_;
  const fb::Node& node_;
};

/// None is infinite or not a number.
bool finite(std::initializer_list<float> values);
/// Strides, paddings and the like: lo..65536. More is beyond any kernel, and this keeps ggml's int arithmetic exact.
bool in_range(int64_t lo, std::initializer_list<int> values);

}  // namespace etggml::ir
