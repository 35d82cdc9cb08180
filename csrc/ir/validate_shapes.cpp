// Symbols, dimension expressions and shapes.
#include "ir/validate.h"

namespace etggml::ir {

using ll = long long;

int64_t element_count(const int64_t* dims, size_t n) {
  int64_t product = 1;
  for (size_t i = 0; i < n; ++i) {
    if (dims[i] <= 0) return 0;
    if (__builtin_mul_overflow(product, dims[i], &product)) return INT64_MAX;
  }
  return product;
}

std::string shape_problem(const std::array<int64_t, 4>& ne) {
  for (int i = 0; i < 4; ++i) {
    if (ne[i] < 1 || ne[i] > kMaxDim) {
      return format("dimension %d is %lld, outside 1..%lld", i, static_cast<ll>(ne[i]), static_cast<ll>(kMaxDim));
    }
  }
  if (element_count(ne.data() + 1, 3) > kMaxDim) return format("it has more than %lld rows", static_cast<ll>(kMaxDim));
  if (element_count(ne) >= kMaxElements) {
    return format("%lld elements are more than the limit of %lld", static_cast<ll>(element_count(ne)),
                  static_cast<ll>(kMaxElements));
  }
  return std::string();
}

// Whether the symbol alone is a dimension of an input. Before anything else is checked, so it trusts nothing.
bool Validator::is_dimension(uint32_t symbol) const {
  const auto* from = g_.symbols()->Get(symbol)->source_as_FromInputDim();
  if (!from || from->input() >= Graph::count(g_.inputs())) return false;
  const auto* dims = g_.inputs()->Get(from->input())->dims();
  if (from->dim() >= Graph::count(dims) || !aligned8(dims) || dims->Get(from->dim()) >= 0) return false;
  const uint64_t expr = static_cast<uint64_t>(-(dims->Get(from->dim()) + 1));
  if (expr >= Graph::count(g_.exprs())) return false;
  const auto* code = g_.exprs()->Get(static_cast<uint32_t>(expr))->code();
  return Graph::count(code) == 1 && aligned8(code) && code->Get(0)->code() == fb::ExprCode_Symbol &&
         code->Get(0)->arg() == static_cast<int64_t>(symbol);
}

Status Validator::symbol_bounds() {
  const uint32_t n = Graph::count(g_.symbols());
  if (n > kMaxSymbols) return fail("%u symbols, more than the limit of %u", n, kMaxSymbols);
  for (uint32_t i = 0; i < n; ++i) {
    const fb::Symbol& s = *g_.symbols()->Get(i);
    ETGGML_RETURN_IF_ERROR(name(s.name(), format("symbol %u: name", i), true));
    if (s.min() > s.max() || s.min() < -kMaxSymbolValue || s.max() > kMaxSymbolValue) {
      return fail("symbol %u '%s': bounds %lld..%lld are empty or too wide (a dynamic dimension needs an upper bound)",
                  i, s.name()->c_str(), static_cast<ll>(s.min()), static_cast<ll>(s.max()));
    }
    // ggml has no empty tensors: a dimension starts at 1, also if the exporter's lower bound is 0.
    p_.symbol_min_.push_back(s.min() < 1 && s.max() >= 1 && is_dimension(i) ? 1 : s.min());
    p_.symbol_max_.push_back(s.max());
  }
  return ok_status();
}

Status Validator::expressions() {
  const uint32_t n = Graph::count(g_.exprs());
  if (n > kMaxExprs) return fail("%u expressions, more than the limit of %u", n, kMaxExprs);
  ranges_.reserve(n);
  for (uint32_t i = 0; i < n; ++i) {
    Result<Interval> range = check_expr(*g_.exprs()->Get(i), p_.symbol_min_, p_.symbol_max_);
    if (!range.ok()) return fail("expression %u: %s", i, range.status().message.c_str());
    ranges_.push_back(*range);
  }
  return ok_status();
}

Status Validator::dimension(int64_t dim, const std::string& where) const {
  if (dim >= 0) return ok_status();
  const uint64_t index = static_cast<uint64_t>(-(dim + 1));
  if (index >= ranges_.size()) {
    return fail("%s: expression %llu of %zu", where.c_str(), static_cast<unsigned long long>(index), ranges_.size());
  }
  return ok_status();
}

Status Validator::dimensions(const flatbuffers::Vector<int64_t>* dims, const std::string& where) const {
  const uint32_t rank = Graph::count(dims);
  if (rank > kMaxRank) return fail("%s: %u dimensions, more than the limit of %u", where.c_str(), rank, kMaxRank);
  if (rank > 0 && !aligned8(dims)) return fail("%s is misaligned", where.c_str());
  for (uint32_t d = 0; d < rank; ++d) {
    ETGGML_RETURN_IF_ERROR(dimension(dims->Get(d), format("%s[%u]", where.c_str(), d)));
  }
  return ok_status();
}

Status Validator::shapes() {
  const uint32_t n = Graph::count(g_.shapes());
  if (n > kMaxShapes) return fail("%u shapes, more than the limit of %u", n, kMaxShapes);
  for (uint32_t i = 0; i < n; ++i) {
    const auto* ne = g_.shapes()->Get(i)->ne();
    if (Graph::count(ne) != 4) return fail("shape %u: ne has %u dimensions instead of 4", i, Graph::count(ne));
    ETGGML_RETURN_IF_ERROR(dimensions(ne, format("shape %u: ne", i)));
    for (uint32_t d = 0; d < 4; ++d) {
      const int64_t dim = ne->Get(d);
      const int64_t most = dim >= 0 ? dim : ranges_[static_cast<size_t>(-(dim + 1))].hi;
      if (most < 1) return fail("shape %u: ne[%u] is never above %lld", i, d, static_cast<ll>(most));
    }
    const struct {
      const std::vector<int64_t>& symbols;
      const char* which;
    } corners[] = {{p_.symbol_min_, "lower"}, {p_.symbol_max_, "upper"}};
    for (const auto& corner : corners) {
      const std::string problem = shape_problem(p_.shape(i, corner.symbols));
      if (!problem.empty()) return fail("shape %u: ne at the symbols' %s bounds: %s", i, corner.which, problem.c_str());
    }
  }
  return ok_status();
}

Status Validator::literal_shape(uint32_t index, const std::string& where) const {
  if (index >= Graph::count(g_.shapes())) {
    return fail("%s: shape %u of %u", where.c_str(), index, Graph::count(g_.shapes()));
  }
  for (int64_t dim : *g_.shapes()->Get(index)->ne()) {
    if (dim < 0) return fail("%s: shape %u is symbolic; storage needs literal dimensions", where.c_str(), index);
  }
  return ok_status();
}

// After inputs(): the inputs' dims are known to be sound.
Status Validator::symbol_sources() {
  p_.symbol_affine_.resize(p_.symbol_min_.size());
  for (uint32_t i = 0; i < p_.symbol_min_.size(); ++i) {
    const fb::Symbol& s = *g_.symbols()->Get(i);
    const char* label = s.name()->c_str();
    uint32_t input = 0;
    if (const auto* from = s.source_as_FromInputDim()) {
      input = from->input();
    } else if (const auto* from = s.source_as_FromInputMax()) {
      input = from->input();
    } else if (const auto* from = s.source_as_FromInputScalar()) {
      input = from->input();
    } else {
      return fail("symbol %u '%s': nothing binds it (source)", i, label);
    }
    if (input >= Graph::count(g_.inputs())) {
      return fail("symbol %u '%s': source: input %u of %u", i, label, input, Graph::count(g_.inputs()));
    }
    const fb::Input& in = *g_.inputs()->Get(input);
    if (const auto* from = s.source_as_FromInputDim()) {
      if (in.kind() != fb::InputKind_Tensor || from->dim() >= Graph::count(in.dims())) {
        return fail("symbol %u '%s': source: input '%s' has no dimension %u", i, label, in.name()->c_str(),
                    from->dim());
      }
      const int64_t dim = in.dims()->Get(from->dim());
      Affine& affine = p_.symbol_affine_[i];
      if (dim >= 0 || !affine_in(*g_.exprs()->Get(static_cast<uint32_t>(-(dim + 1))), i, &affine)) {
        return fail(
            "symbol %u '%s': source: it cannot be computed from dimension %u of input '%s', which is not a*%s + b", i,
            label, from->dim(), in.name()->c_str(), label);
      }
    } else if (const auto* from = s.source_as_FromInputMax()) {
      if (in.kind() != fb::InputKind_Tensor || (in.dtype() != 3 && in.dtype() != 4)) {
        return fail("symbol %u '%s': source: input '%s' is not an int32 or int64 tensor", i, label, in.name()->c_str());
      }
      if (from->round_to() < 0 || from->round_to() > kMaxDim || from->add() < -kMaxSymbolValue ||
          from->add() > kMaxSymbolValue || s.min() < 0 || s.max() > kMaxDim) {
        return fail(
            "symbol %u '%s': source: add %lld, round_to %lld or the symbol's bounds %lld..%lld are out of range", i,
            label, static_cast<ll>(from->add()), static_cast<ll>(from->round_to()), static_cast<ll>(s.min()),
            static_cast<ll>(s.max()));
      }
      p_.input_used_[input] = true;
    } else {
      if (in.kind() != fb::InputKind_Int) {
        return fail("symbol %u '%s': source: input '%s' is not an int", i, label, in.name()->c_str());
      }
      p_.input_used_[input] = true;
    }
  }
  return ok_status();
}

}  // namespace etggml::ir
