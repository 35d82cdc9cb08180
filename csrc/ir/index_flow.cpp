// Which integers index rows, and why each of them is in range.
//
// ggml's kernels abort (or, for MulMatId, write anywhere) on a row number outside its table. Integers cannot be
// computed with in a graph, only moved, so the integers that reach an index operand fall into classes: everything
// connected by moves is one class. Each class has sources (inputs, constants, Argmax & co) and uses (tables); every
// source must respect the smallest table. Inputs are checked when they are uploaded, the rest here and in
// index_limits().
#include <algorithm>
#include <cstring>
#include <numeric>

#include "ggml.h"
#include "ir/validate.h"

namespace etggml::ir {
namespace {

bool integer(uint8_t type) {
  return type == GGML_TYPE_I32 || type == GGML_TYPE_I64 || type == GGML_TYPE_I16 || type == GGML_TYPE_I8;
}

uint32_t find(std::vector<uint32_t>& parent, uint32_t i) {
  while (parent[i] != i) i = parent[i] = parent[parent[i]];
  return i;
}

template <class T>
void extremes(const uint8_t* bytes, size_t size, int64_t* min, int64_t* max) {
  for (size_t at = 0; at + sizeof(T) <= size; at += sizeof(T)) {
    T v;
    std::memcpy(&v, bytes + at, sizeof(T));
    *min = std::min<int64_t>(*min, v);
    *max = std::max<int64_t>(*max, v);
  }
}

/// Smallest and largest element of an integer constant.
void constant_range(const fb::Constant& c, int64_t* min, int64_t* max) {
  *min = INT64_MAX;
  *max = INT64_MIN;
  switch (c.type()) {
    case GGML_TYPE_I64:
      return extremes<int64_t>(c.data()->data(), c.data()->size(), min, max);
    case GGML_TYPE_I32:
      return extremes<int32_t>(c.data()->data(), c.data()->size(), min, max);
    case GGML_TYPE_I16:
      return extremes<int16_t>(c.data()->data(), c.data()->size(), min, max);
    default:
      return extremes<int8_t>(c.data()->data(), c.data()->size(), min, max);
  }
}

}  // namespace

Status Validator::index_flow() {
  const uint32_t n = p_.node_count();
  std::vector<uint32_t> parent(n);
  std::iota(parent.begin(), parent.end(), 0u);
  for (uint32_t i = 0; i < n; ++i) {
    const fb::Node& node = p_.node(i);
    if (!integer(node.type())) continue;
    auto join = [&](uint32_t s) {
      const uint32_t source = node.src()->Get(s);
      if (integer(p_.node(source).type())) parent[find(parent, source)] = find(parent, i);
    };
    const int8_t moves = facts_of(node.op_type()).moves;
    if (moves >= 0) join(static_cast<uint32_t>(moves));
    for (uint32_t s = 0; moves == kAllSources && s < node.src()->size(); ++s) join(s);
  }

  std::vector<bool> used(n, false);
  for (uint32_t i = 0; i < n; ++i) {
    const fb::Node& node = p_.node(i);
    if (!p_.live_[i]) continue;
    const OperatorFacts& facts = facts_of(node.op_type());
    if (facts.row_numbers < 0) continue;
    const auto ids = static_cast<uint32_t>(facts.row_numbers);
    const uint32_t source = node.src()->Get(ids);
    if (!integer(p_.node(source).type())) return node_fail(i, "src[%u] must hold integers", ids);
    const uint32_t group = find(parent, source);
    used[group] = true;
    p_.index_uses_.push_back({group, i, node.src()->Get(0), static_cast<uint32_t>(facts.axis)});
  }

  p_.index_class_.resize(n);
  for (uint32_t i = 0; i < n; ++i) {
    const fb::Node& node = p_.node(i);
    const uint32_t group = p_.index_class_[i] = find(parent, i);
    if (!used[group] || !p_.live_[i]) continue;
    const OperatorFacts& facts = facts_of(node.op_type());
    if (facts.places >= 0) {
      p_.index_sources_.push_back({group, i, 0, node.src()->Get(static_cast<uint32_t>(facts.places))});
      continue;
    }
    switch (node.op_type()) {
      case fb::Op_InputLeaf:
        break;  // checked on upload
      case fb::Op_ConstLeaf: {
        int64_t min = 0, max = 0;
        constant_range(*g_.constants()->Get(node.op_as_ConstLeaf()->constant()), &min, &max);
        if (min < 0)
          return node_fail(i, "holds %lld, but its values are used as row numbers", static_cast<long long>(min));
        p_.index_sources_.push_back({group, i, max, UINT32_MAX});
        break;
      }
      case fb::Op_Cast: {
        const fb::Node& source = p_.node(node.src()->Get(0));
        if (integer(source.type())) break;  // moved from another node of the class
        // Computed indices are F32 until here. A clamp bounds all of them: ggml's yields one of its limits even for a
        // NaN.
        if (source.op_type() != fb::Op_Clamp) {
          return node_fail(i, "its values are used as row numbers, but no clamp bounds them");
        }
        const fb::Clamp& clamp = *source.op_as_Clamp();
        if (!(clamp.min() >= 0 && clamp.max() >= clamp.min() && clamp.max() < 16777216.0f)) {
          return node_fail(i, "its values are used as row numbers, but clamped to %g..%g", clamp.min(), clamp.max());
        }
        p_.index_sources_.push_back({group, i, static_cast<int64_t>(clamp.max()), UINT32_MAX});
        break;
      }
      default: {
        const bool moved = facts.moves != kNoSource && integer(p_.node(node.src()->Get(0)).type());
        if (!moved) return node_fail(i, "its values are used as row numbers, but nothing bounds them");
      }
    }
  }
  Result<std::vector<int64_t>> at_min = p_.index_limits(p_.symbol_min_);
  if (!at_min.ok()) return Status(ETGGML_FORMAT, at_min.status().message);
  return ok_status();
}

Result<std::vector<int64_t>> Graph::index_limits(const std::vector<int64_t>& symbols) const {
  std::vector<int64_t> of_class(node_count(), INT64_MAX);
  for (const IndexUse& use : index_uses_) {
    const int64_t rows = node_shape(use.table, symbols)[use.axis];
    of_class[use.group] = std::min(of_class[use.group], rows);
  }
  for (const IndexSource& source : index_sources_) {
    const int64_t most = source.row_of == UINT32_MAX ? source.max : node_shape(source.row_of, symbols)[0] - 1;
    if (most >= of_class[source.group]) {
      return error(ETGGML_SHAPE, "%s: %s: its values go up to %lld, but they index a table of %lld rows",
                   origin_.c_str(), node_name(*payload_, source.node).c_str(), static_cast<long long>(most),
                   static_cast<long long>(of_class[source.group]));
    }
  }
  std::vector<int64_t> limits(node_count());
  for (uint32_t i = 0; i < node_count(); ++i) limits[i] = of_class[index_class_[i]];
  return limits;
}

}  // namespace etggml::ir
