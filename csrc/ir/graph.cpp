#include "ir/graph.h"

#include <cstring>
#include <new>

#include "flatbuffers/flatbuffers.h"
#include "ir/expr.h"
#include "ir/validate.h"

namespace etggml::ir {

std::string node_name(const fb::Graph& graph, uint32_t index) {
  const fb::Node* node = graph.nodes()->Get(index);
  std::string text = format("node %u (%s", index, fb::EnumNameOp(node->op_type()));
  // The leaves may not be validated yet, so every index is checked here again.
  auto add = [&](const char* kind, const flatbuffers::String* name) {
    if (name) text += format(" %s '%.80s'", kind, name->c_str());
  };
  if (const auto* leaf = node->op_as_InputLeaf()) {
    if (leaf->input() < Graph::count(graph.inputs())) add("input", graph.inputs()->Get(leaf->input())->name());
  } else if (const auto* leaf = node->op_as_WeightLeaf()) {
    if (leaf->slot() < Graph::count(graph.weights())) add("weight", graph.weights()->Get(leaf->slot())->name());
  } else if (const auto* leaf = node->op_as_StateLeaf()) {
    if (leaf->slot() < Graph::count(graph.states())) add("state", graph.states()->Get(leaf->slot())->name());
  }
  return text + ")";
}

namespace {

using RawTables = flatbuffers::Vector<flatbuffers::Offset<flatbuffers::Table>>;

/// A vector of tables in a field of a table, nullptr when absent; `ok` turns false when it is not inside the buffer.
/// The elements' starts are verified, nothing in them.
const RawTables* raw_tables(flatbuffers::Verifier& verifier, const flatbuffers::Table* table,
                            flatbuffers::voffset_t field, bool* ok) {
  *ok = table->VerifyOffset(verifier, field);
  const auto* vector = *ok ? table->GetPointer<const RawTables*>(field) : nullptr;
  *ok = *ok && verifier.VerifyVector(vector);
  for (uint32_t i = 0; *ok && i < Graph::count(vector); ++i) {
    *ok = vector->Get(i)->VerifyTableStart(verifier);
    verifier.EndTable();
  }
  return *ok ? vector : nullptr;
}

/// FlatBuffers may share vectors, and its verifier walks a shared vector of strings once for every table that refers to
/// it: a few megabytes can ask for hours of work. Weight keys are the only strings below two levels of tables, so
/// bounding these lengths first bounds everything.
Status bounded_keys(const uint8_t* bytes, size_t size, const std::string& origin) {
  flatbuffers::Verifier verifier(bytes, size, 16, 10000000);
  const Status corrupt(ETGGML_FORMAT,
                       origin + ": the payload is corrupt: an offset or length leaves it (truncated or damaged?)");
  if (verifier.VerifyOffset(0) == 0) return corrupt;
  const auto* root = flatbuffers::GetRoot<flatbuffers::Table>(bytes);
  if (!root->VerifyTableStart(verifier)) return corrupt;
  bool ok = false;
  const RawTables* weights = raw_tables(verifier, root, fb::Graph::VT_WEIGHTS, &ok);
  if (!ok) return corrupt;
  if (Graph::count(weights) > kMaxSlots) {
    return error(ETGGML_FORMAT, "%s: %u weights, more than the limit of %u", origin.c_str(), weights->size(),
                 kMaxSlots);
  }
  for (uint32_t w = 0; w < Graph::count(weights); ++w) {
    const RawTables* parts = raw_tables(verifier, weights->Get(w), fb::WeightSlot::VT_PARTS, &ok);
    if (!ok) return corrupt;
    if (Graph::count(parts) > kMaxParts) {
      return error(ETGGML_FORMAT, "%s: weight %u: %u parts, more than the limit of %u", origin.c_str(), w,
                   parts->size(), kMaxParts);
    }
    for (uint32_t p = 0; p < Graph::count(parts); ++p) {
      const flatbuffers::Table* part = parts->Get(p);
      if (!part->VerifyOffset(verifier, fb::WeightPart::VT_KEYS)) return corrupt;
      const auto* keys = part->GetPointer<const RawTables*>(fb::WeightPart::VT_KEYS);
      if (!verifier.VerifyVector(keys)) return corrupt;
      if (Graph::count(keys) > kMaxKeys) {
        return error(ETGGML_FORMAT, "%s: weight %u: part %u has %u keys, more than the limit of %u", origin.c_str(), w,
                     p, keys->size(), kMaxKeys);
      }
    }
  }
  return ok_status();
}

}  // namespace

Result<std::shared_ptr<const Graph>> Graph::parse(const void* data, size_t size, std::string origin,
                                                  const FieldChecks& checks) {
  if (!data) return error(ETGGML_INVALID_ARGUMENT, "%s: no payload", origin.c_str());
  if (size < 16 || size > kMaxPayloadBytes) {
    return error(ETGGML_FORMAT, "%s: a payload of %zu bytes; it must have 16 to %zu", origin.c_str(), size,
                 kMaxPayloadBytes);
  }
  std::shared_ptr<Graph> ir_graph(new (std::nothrow) Graph());
  if (!ir_graph) return error(ETGGML_OUT_OF_MEMORY, "%s: no memory for the graph", origin.c_str());
  ir_graph->origin_ = std::move(origin);
  ir_graph->storage_.resize((size + 7) / 8);
  std::memcpy(ir_graph->storage_.data(), data, size);
  const auto* bytes = reinterpret_cast<const uint8_t*>(ir_graph->storage_.data());

  if (!fb::GraphBufferHasIdentifier(bytes)) {
    return error(ETGGML_FORMAT, "%s: not an executorch-ggml payload: the identifier at byte 4 is not \"%s\"",
                 ir_graph->origin_.c_str(), fb::GraphIdentifier());
  }
  ETGGML_RETURN_IF_ERROR(bounded_keys(bytes, size, ir_graph->origin_));
  // Each node is two tables; expressions, shapes and slots are bounded beside it.
  flatbuffers::Verifier verifier(bytes, size, /*max_depth=*/16, /*max_tables=*/1000000);
  if (!fb::VerifyGraphBuffer(verifier)) {
    return error(
        ETGGML_FORMAT,
        "%s: the payload is corrupt: an offset, length or string leaves its %zu bytes (truncated or damaged file?)",
        ir_graph->origin_.c_str(), size);
  }
  ir_graph->payload_ = fb::GetGraph(bytes);
  ETGGML_RETURN_IF_ERROR(Validator(ir_graph.get(), checks).run());
  return std::shared_ptr<const Graph>(std::move(ir_graph));
}

int64_t Graph::dim(int64_t encoded, const std::vector<int64_t>& symbols) const {
  if (encoded >= 0) return encoded;
  return eval_expr(*payload_->exprs()->Get(static_cast<uint32_t>(-(encoded + 1))), symbols);
}

std::array<int64_t, 4> Graph::shape(uint32_t index, const std::vector<int64_t>& symbols) const {
  const auto* ne = payload_->shapes()->Get(index)->ne();
  return {dim(ne->Get(0), symbols), dim(ne->Get(1), symbols), dim(ne->Get(2), symbols), dim(ne->Get(3), symbols)};
}

std::vector<int64_t> Graph::dims(const flatbuffers::Vector<int64_t>* encoded,
                                 const std::vector<int64_t>& symbols) const {
  std::vector<int64_t> out;
  out.reserve(count(encoded));
  for (uint32_t i = 0; i < count(encoded); ++i) out.push_back(dim(encoded->Get(i), symbols));
  return out;
}

Status Graph::check_shapes(const std::vector<int64_t>& symbols) const {
  if (symbols.size() != symbol_min_.size()) {
    return error(ETGGML_INTERNAL, "%s: %zu symbol values for a graph with %zu", origin_.c_str(), symbols.size(),
                 symbol_min_.size());
  }
  for (size_t i = 0; i < symbols.size(); ++i) {
    if (symbols[i] < symbol_min_[i] || symbols[i] > symbol_max_[i]) {
      return error(ETGGML_SHAPE, "%s: symbol '%s' is %lld, outside its bounds %lld..%lld", origin_.c_str(),
                   payload_->symbols()->Get(static_cast<uint32_t>(i))->name()->c_str(),
                   static_cast<long long>(symbols[i]), static_cast<long long>(symbol_min_[i]),
                   static_cast<long long>(symbol_max_[i]));
    }
  }
  return check_layout(*this, symbols, ETGGML_SHAPE, "");
}

}  // namespace etggml::ir
