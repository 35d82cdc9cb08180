// Nodes: sources, types, effects, liveness. The fields of each operator are judged by its row.
#include "ir/node_check.h"
#include "ir/validate.h"

namespace etggml::ir {

Status Validator::nodes() {
  for (uint32_t i = 0; i < p_.node_count(); ++i) {
    ETGGML_RETURN_IF_ERROR(node_common(i));
    if (const FieldCheck check = checks_[p_.node(i).op_type()]) ETGGML_RETURN_IF_ERROR(check(NodeCheck(*this, i)));
  }
  return ok_status();
}

Status Validator::node_common(uint32_t i) {
  const fb::Node& node = p_.node(i);
  // An op this reader does not know passes the FlatBuffers verifier unread.
  if (node.op_type() <= fb::Op_NONE || node.op_type() > fb::Op_MAX || !node.op()) {
    return fail("node %u: op code %d is unknown", i, static_cast<int>(node.op_type()));
  }
  const OperatorFacts& facts = facts_of(node.op_type());
  const uint32_t n_src = Graph::count(node.src());
  if (n_src < facts.least_sources || n_src > facts.most_sources) {
    return node_fail(i, "src has %u values, expected %u..%u", n_src, facts.least_sources, facts.most_sources);
  }
  for (uint32_t s = 0; s < n_src; ++s) {
    if (node.src()->Get(s) >= i)
      return node_fail(i, "src[%u] is %u, not a node before this one", s, node.src()->Get(s));
  }
  if (node.shape() >= Graph::count(g_.shapes())) {
    return node_fail(i, "shape %u of %u", node.shape(), Graph::count(g_.shapes()));
  }
  if (node.type() != 255 && !type_known(node.type())) return node_fail(i, "type %d is unknown", node.type());
  return ok_status();
}

// Only states may be written: never a weight, a constant, an input or scratch memory.
Status Validator::effects() {
  std::vector<bool> in_state(p_.node_count(), false);
  for (uint32_t i = 0; i < p_.node_count(); ++i) {
    const fb::Node& node = p_.node(i);
    const OperatorFacts& facts = facts_of(node.op_type());
    if (facts.memory < 0) {
      in_state[i] = node.op_type() == fb::Op_StateLeaf;
      continue;
    }
    const uint32_t source = node.src()->Get(static_cast<uint32_t>(facts.memory));
    if (facts.writes && !in_state[source]) {
      return node_fail(i, "src[%d], the destination %s, is not (a view of) a state", facts.memory,
                       node_name(g_, source).c_str());
    }
    in_state[i] = in_state[source];
  }
  return ok_status();
}

Status Validator::liveness() {
  p_.live_.assign(p_.node_count(), false);
  for (uint32_t i = 0; i < p_.output_count(); ++i) p_.live_[g_.outputs()->Get(i)->value()] = true;
  for (uint32_t i = p_.node_count(); i-- > 0;) {
    const fb::Node& node = p_.node(i);
    if (facts_of(node.op_type()).writes) p_.live_[i] = true;
    if (!p_.live_[i]) continue;
    if (const auto* leaf = node.op_as_InputLeaf()) p_.input_used_[leaf->input()] = true;
    if (node.op_type() == fb::Op_CausalMask) {
      // The host reads the positions from the input itself: their leaf need not become a tensor.
      p_.input_used_[p_.node(node.src()->Get(0)).op_as_InputLeaf()->input()] = true;
      continue;
    }
    for (uint32_t s = 0; s < Graph::count(node.src()); ++s) p_.live_[node.src()->Get(s)] = true;
  }
  for (bool live : p_.live_) {
    if (live) return ok_status();
  }
  return fail("nodes: the graph has no outputs and changes no state");
}

}  // namespace etggml::ir
