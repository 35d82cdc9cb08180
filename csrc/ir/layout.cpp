// Element layouts at concrete symbols: views inside their parents, reshapes of contiguous values, sizes at the
// boundary. Works on element strides alone, so it holds for every storage type; graph::build() checks the bytes again.
#include <cstdarg>

#include "ir/validate.h"

namespace etggml::ir {
namespace {

using ll = long long;

struct Layout {
  std::array<int64_t, 4> ne{}, stride{};
  uint32_t root = 0;      // the node that has the memory
  int64_t root_size = 0;  // elements
  int64_t offset = 0;     // from the root's start
};

std::array<int64_t, 4> packed(const std::array<int64_t, 4>& ne) {
  return {1, ne[0], ne[0] * ne[1], ne[0] * ne[1] * ne[2]};
}

bool contiguous(const Layout& l) {
  const std::array<int64_t, 4> p = packed(l.ne);
  for (int d = 0; d < 4; ++d) {
    if (l.ne[d] != 1 && l.stride[d] != p[d]) return false;
  }
  return true;
}

/// Elements from the first to the last one, inclusive; false when that leaves int64.
bool span(const std::array<int64_t, 4>& ne, const std::array<int64_t, 4>& stride, int64_t* out) {
  int64_t total = 1;
  for (int d = 0; d < 4; ++d) {
    int64_t part = 0;
    if (stride[d] < 0 || __builtin_mul_overflow(ne[d] - 1, stride[d], &part)) return false;
    if (__builtin_add_overflow(total, part, &total)) return false;
  }
  *out = total;
  return true;
}

class Checker {
 public:
  Checker(const Graph& ir_graph, const std::vector<int64_t>& symbols, etggml_status code, const char* when)
      : p_(ir_graph), g_(ir_graph.payload()), symbols_(symbols), code_(code), when_(when) {}

  Status run();

 private:
  Status node(uint32_t i);
  Status view(uint32_t i, Layout* l);
  Status permute(uint32_t i, Layout* l);
  Status boundary();
  Status fail(uint32_t node, const char* format, ...) const __attribute__((format(printf, 3, 4)));

  const Graph& p_;
  const fb::Graph& g_;
  const std::vector<int64_t>& symbols_;
  const etggml_status code_;
  const char* when_;
  std::vector<Layout> layout_;
};

Status Checker::fail(uint32_t node, const char* text, ...) const {
  va_list args;
  va_start(args, text);
  Status status(code_, p_.origin() + ": " + node_name(g_, node) + when_ + ": " + vformat(text, args));
  va_end(args);
  return status;
}

Status Checker::view(uint32_t i, Layout* l) {
  const auto* op = p_.node(i).op_as_View();
  const Layout& source = layout_[p_.node(i).src()->Get(0)];
  for (uint32_t d = 0; d < 4; ++d) l->stride[d] = p_.dim(op->strides()->Get(d), symbols_);
  if (l->ne[0] != 1 && l->stride[0] != 1)
    return fail(i, "strides[0] is %lld; it must be 1", static_cast<ll>(l->stride[0]));
  const int64_t offset = p_.dim(op->offset(), symbols_);
  int64_t own = 0, parent = 0, end = 0;
  if (offset < 0 || !span(l->ne, l->stride, &own) || !span(source.ne, source.stride, &parent) ||
      __builtin_add_overflow(own, offset, &end) || end > parent) {
    return fail(i, "the view leaves its source: offset %lld, strides %lld %lld %lld %lld, %lld elements there",
                static_cast<ll>(offset), static_cast<ll>(l->stride[0]), static_cast<ll>(l->stride[1]),
                static_cast<ll>(l->stride[2]), static_cast<ll>(l->stride[3]), static_cast<ll>(parent));
  }
  l->root = source.root;
  l->root_size = source.root_size;
  l->offset = source.offset + offset;
  // A rule of ggml: a view never has more elements than its memory from its start to the end. So overlapping rows
  // (stride 0 as a broadcast) need Repeat.
  if (element_count(l->ne) > l->root_size - l->offset) return fail(i, "the view has more elements than its memory");
  return ok_status();
}

Status Checker::permute(uint32_t i, Layout* l) {
  const auto* axes = p_.node(i).op_as_Permute()->axes();
  const Layout& source = layout_[p_.node(i).src()->Get(0)];
  const std::array<int64_t, 4> declared = l->ne;
  *l = source;
  for (uint32_t d = 0; d < 4; ++d) {
    l->ne[axes->Get(d)] = source.ne[d];
    l->stride[axes->Get(d)] = source.stride[d];
  }
  if (l->ne != declared) return fail(i, "shape is not the permuted shape of its source");
  return ok_status();
}

Status Checker::node(uint32_t i) {
  const fb::Node& n = p_.node(i);
  Layout& l = layout_[i];
  l.ne = p_.shape(n.shape(), symbols_);
  l.stride = packed(l.ne);
  l.root = i;
  l.root_size = element_count(l.ne);
  const OperatorFacts& facts = facts_of(n.op_type());
  if (facts.writes) {
    const std::array<int64_t, 4> declared = l.ne;
    l = layout_[n.src()->Get(static_cast<uint32_t>(facts.memory))];
    return l.ne == declared ? ok_status() : fail(i, "shape is not that of the destination");
  }
  switch (n.op_type()) {
    case fb::Op_View:
      return view(i, &l);
    case fb::Op_Permute:
      return permute(i, &l);
    case fb::Op_Reshape: {
      const Layout& source = layout_[n.src()->Get(0)];
      if (element_count(l.ne) != element_count(source.ne)) {
        return fail(i, "%lld elements reshaped to %lld", static_cast<ll>(element_count(source.ne)),
                    static_cast<ll>(element_count(l.ne)));
      }
      if (!contiguous(source)) return fail(i, "its source is not contiguous");
      l.root = source.root;
      l.root_size = source.root_size;
      l.offset = source.offset;
      return ok_status();
    }
    case fb::Op_InputLeaf: {
      const fb::Input& in = *g_.inputs()->Get(n.op_as_InputLeaf()->input());
      const std::vector<int64_t> dims = p_.dims(in.dims(), symbols_);
      if (element_count(dims.data(), dims.size()) != l.root_size) {
        return fail(i, "the input has %lld elements, shape has %lld",
                    static_cast<ll>(element_count(dims.data(), dims.size())), static_cast<ll>(l.root_size));
      }
      return ok_status();
    }
    case fb::Op_CausalMask:
      if (l.ne[2] != 1 || l.ne[3] != 1 || l.ne[1] != layout_[n.src()->Get(0)].root_size) {
        return fail(i, "shape must be [n_kv, %lld, 1, 1]", static_cast<ll>(layout_[n.src()->Get(0)].root_size));
      }
      return ok_status();
    default:
      return ok_status();
  }
}

Status Checker::boundary() {
  for (uint32_t i = 0; i < p_.input_count(); ++i) {
    const fb::Input& in = *g_.inputs()->Get(i);
    const std::vector<int64_t> dims = p_.dims(in.dims(), symbols_);
    const int64_t n = element_count(dims.data(), dims.size());
    if (n < 1 || n >= kMaxElements) {
      return error(code_, "%s: input '%s'%s: its dimensions are empty or too large", p_.origin().c_str(),
                   in.name()->c_str(), when_);
    }
  }
  for (uint32_t i = 0; i < p_.output_count(); ++i) {
    const fb::Output& out = *g_.outputs()->Get(i);
    const std::vector<int64_t> dims = p_.dims(out.dims(), symbols_);
    const int64_t n = element_count(dims.data(), dims.size()), have = element_count(layout_[out.value()].ne);
    if (n != have) {
      return error(code_, "%s: output %u%s: its dims have %lld elements, its value %s has %lld", p_.origin().c_str(), i,
                   when_, static_cast<ll>(n), node_name(g_, out.value()).c_str(), static_cast<ll>(have));
    }
  }
  return ok_status();
}

Status Checker::run() {
  for (uint32_t i = 0; i < Graph::count(g_.shapes()); ++i) {
    const std::string problem = shape_problem(p_.shape(i, symbols_));
    if (!problem.empty()) return error(code_, "%s: shape %u%s: %s", p_.origin().c_str(), i, when_, problem.c_str());
  }
  layout_.resize(p_.node_count());
  for (uint32_t i = 0; i < p_.node_count(); ++i) ETGGML_RETURN_IF_ERROR(node(i));
  return boundary();
}

}  // namespace

Status check_layout(const Graph& ir_graph, const std::vector<int64_t>& symbols, etggml_status code, const char* when) {
  return Checker(ir_graph, symbols, code, when).run();
}

}  // namespace etggml::ir
