// A graph exported from one GGUF must not run with the weights of another model that has tensors of the same names and
// shapes. The other model may have another RoPE base or head count. So the graph's expectations are compared with the
// file's metadata.
#pragma once

#include "gguf/file_set.h"
#include "ir/graph.h"
#include "weights/report.h"

namespace etggml::weights {

/// Adds a Metadata problem for every expectation of the graph that the file's metadata does not meet.
void check_expectations(const ir::Graph& ir_graph, const gguf::FileSet& files, Report* report);

namespace detail {
/// JSON text of a metadata entry (arrays longer than 64 elements are cut short with a string "...": no graph expects
/// such).
Json metadata_json(const gguf::KeyValue& kv);
/// Numbers compare by value, with the precision of a float where one side is not an integer.
bool same_value(const Json& expected, const Json& found);
}  // namespace detail

}  // namespace etggml::weights
