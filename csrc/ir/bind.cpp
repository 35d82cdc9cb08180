// Symbols from the actual inputs of a call, and the exact check of every input.
#include <algorithm>

#include "ir/expr.h"
#include "ir/graph.h"
#include "ir/validate.h"
#include "util/scalar_type.h"

namespace etggml::ir {
namespace {

using ll = long long;

const char* kind_name(fb::InputKind kind) {
  switch (kind) {
    case fb::InputKind_Tensor:
      return "tensor";
    case fb::InputKind_Int:
      return "int";
    case fb::InputKind_Double:
      return "float";
    case fb::InputKind_Bool:
      return "bool";
  }
  return "?";
}

std::string dims_text(const int64_t* dims, size_t n) {
  std::string text = "[";
  for (size_t i = 0; i < n; ++i) text += format(i ? ", %lld" : "%lld", static_cast<ll>(dims[i]));
  return text + "]";
}

const char* input_name(const fb::Graph& graph, uint32_t input) { return graph.inputs()->Get(input)->name()->c_str(); }

struct Extreme {
  int64_t value = INT64_MIN;
  int64_t at = 0;
};

/// First position of the largest and of the first negative element.
template <class T>
void scan(const T* data, int64_t n, Extreme* max, Extreme* negative) {
  for (int64_t i = 0; i < n; ++i) {
    if (data[i] < 0 && negative->value == INT64_MIN) *negative = {data[i], i};
    if (data[i] > max->value) *max = {data[i], i};
  }
}

}  // namespace

Result<int64_t> Graph::bind_max(const fb::Symbol& symbol, const fb::FromInputMax& source, const InputView& input,
                                int64_t default_round_to) const {
  const char* name = input_name(*payload_, source.input());
  const int64_t n = element_count(input.dims, static_cast<size_t>(input.rank));
  if (n < 1) return error(ETGGML_SHAPE, "%s: input '%s' is empty", origin_.c_str(), name);
  if (!input.data) return error(ETGGML_INVALID_ARGUMENT, "%s: input '%s' has no data", origin_.c_str(), name);
  Extreme max, negative;
  if (input.dtype == kInt64) {
    scan(static_cast<const int64_t*>(input.data), n, &max, &negative);
  } else {
    scan(static_cast<const int32_t*>(input.data), n, &max, &negative);
  }
  if (negative.value != INT64_MIN) {
    return error(ETGGML_RANGE, "%s: input '%s': element %lld is %lld; it must not be negative", origin_.c_str(), name,
                 static_cast<ll>(negative.at), static_cast<ll>(negative.value));
  }
  const int64_t bound = symbol.max() - source.add();
  if (max.value > bound) {
    return error(ETGGML_RANGE,
                 "%s: input '%s': element %lld is %lld, beyond the last position %lld this graph can hold (%s <= %lld)",
                 origin_.c_str(), name, static_cast<ll>(max.at), static_cast<ll>(max.value), static_cast<ll>(bound),
                 symbol.name()->c_str(), static_cast<ll>(symbol.max()));
  }
  const int64_t round_to = source.round_to() > 0 ? source.round_to() : std::max<int64_t>(1, default_round_to);
  const int64_t value = max.value + source.add();
  // Rounding cannot overflow: both are bounded by parse(), and a caller's round_to beyond the bound means the bound.
  const int64_t rounded = round_to >= symbol.max() ? symbol.max() : ceil_div(value, round_to) * round_to;
  return std::max(symbol.min(), std::min(rounded, symbol.max()));
}

Result<int64_t> Graph::bind_symbol(uint32_t index, const InputView* inputs, int64_t default_round_to) const {
  const fb::Symbol& symbol = *payload_->symbols()->Get(index);
  if (const auto* source = symbol.source_as_FromInputMax()) {
    return bind_max(symbol, *source, inputs[source->input()], default_round_to);
  }
  if (const auto* source = symbol.source_as_FromInputScalar()) {
    const InputView& input = inputs[source->input()];
    const char* name = input_name(*payload_, source->input());
    if (!input.data) return error(ETGGML_INVALID_ARGUMENT, "%s: input '%s' has no data", origin_.c_str(), name);
    const int64_t value = *static_cast<const int64_t*>(input.data);
    if (value < symbol.min() || value > symbol.max()) {
      return error(ETGGML_RANGE, "%s: input '%s' is %lld, outside %lld..%lld", origin_.c_str(), name,
                   static_cast<ll>(value), static_cast<ll>(symbol.min()), static_cast<ll>(symbol.max()));
    }
    return value;
  }
  const auto* source = symbol.source_as_FromInputDim();
  const InputView& input = inputs[source->input()];
  const int64_t actual = input.dims[source->dim()];
  const Affine& affine = symbol_affine_[index];
  int64_t rest = 0;
  const bool exact = !__builtin_sub_overflow(actual, affine.offset, &rest) && rest % affine.scale == 0;
  const int64_t value = exact ? rest / affine.scale : 0;
  if (exact && value == 0 && may_be_empty(index)) return value;
  if (!exact || value < symbol_min_[index] || value > symbol_max_[index]) {
    const int64_t encoded = payload_->inputs()->Get(source->input())->dims()->Get(source->dim());
    std::string accepted = format("%lld..%lld", may_be_empty(index) ? 0 : static_cast<ll>(dim(encoded, symbol_min_)),
                                  static_cast<ll>(dim(encoded, symbol_max_)));
    if (affine.scale != 1) accepted += format(" in steps of %lld", static_cast<ll>(affine.scale));
    return error(ETGGML_SHAPE, "%s: input '%s' has shape %s: dimension %u is %lld, this graph accepts %s (%s)",
                 origin_.c_str(), input_name(*payload_, source->input()),
                 dims_text(input.dims, static_cast<size_t>(input.rank)).c_str(), source->dim(), static_cast<ll>(actual),
                 accepted.c_str(), symbol.name()->c_str());
  }
  return value;
}

Result<std::vector<int64_t>> Graph::bind(const InputView* inputs, size_t n, int64_t default_round_to) const {
  if (n != input_count()) {
    return error(ETGGML_INVALID_ARGUMENT, "%s: %zu inputs given, %u expected", origin_.c_str(), n, input_count());
  }
  for (uint32_t i = 0; i < n; ++i) {
    const fb::Input& expected = *payload_->inputs()->Get(i);
    const InputView& given = inputs[i];
    if (given.kind != expected.kind()) {
      return error(ETGGML_INVALID_ARGUMENT, "%s: input '%s' is a %s, expected a %s", origin_.c_str(),
                   expected.name()->c_str(), kind_name(given.kind), kind_name(expected.kind()));
    }
    if (given.kind != fb::InputKind_Tensor) continue;
    if (given.dtype != expected.dtype()) {
      return error(ETGGML_DTYPE, "%s: input '%s' is %s, expected %s", origin_.c_str(), expected.name()->c_str(),
                   scalar_name(given.dtype), scalar_name(expected.dtype()));
    }
    const uint32_t rank = count(expected.dims());
    if (given.rank < 0 || static_cast<uint32_t>(given.rank) != rank || (rank && !given.dims)) {
      return error(ETGGML_SHAPE, "%s: input '%s' has %d dimensions, expected %u", origin_.c_str(),
                   expected.name()->c_str(), given.rank, rank);
    }
  }
  std::vector<int64_t> symbols(symbol_min_.size());
  for (uint32_t s = 0; s < symbols.size(); ++s) {
    ETGGML_ASSIGN_OR_RETURN(symbols[s], bind_symbol(s, inputs, default_round_to));
  }
  // Two inputs that share a symbol agree on it because of this, too.
  for (uint32_t i = 0; i < n; ++i) {
    const fb::Input& expected = *payload_->inputs()->Get(i);
    if (expected.kind() != fb::InputKind_Tensor) continue;
    for (uint32_t d = 0; d < count(expected.dims()); ++d) {
      const int64_t want = dim(expected.dims()->Get(d), symbols);
      if (inputs[i].dims[d] == want) continue;
      const std::vector<int64_t> all = dims(expected.dims(), symbols);
      return error(ETGGML_SHAPE, "%s: input '%s' has shape %s, expected %s: dimension %u is %lld instead of %lld",
                   origin_.c_str(), expected.name()->c_str(), dims_text(inputs[i].dims, all.size()).c_str(),
                   dims_text(all.data(), all.size()).c_str(), d, static_cast<ll>(inputs[i].dims[d]),
                   static_cast<ll>(want));
    }
  }
  return symbols;
}

}  // namespace etggml::ir
