#include "ir/node_check.h"

#include <cmath>
#include <cstdarg>

#include "ir/validate.h"

namespace etggml::ir {

NodeCheck::NodeCheck(const Validator& validator, uint32_t index)
    : validator_(validator), index_(index), node_(validator.p_.node(index)) {}

const fb::Graph& NodeCheck::payload() const { return validator_.g_; }

const fb::Node& NodeCheck::src(uint32_t i) const { return validator_.p_.node(node_.src()->Get(i)); }

Status NodeCheck::fail(const char* format_text, ...) const {
  va_list args;
  va_start(args, format_text);
  const std::string text = vformat(format_text, args);
  va_end(args);
  return validator_.node_fail(index_, "%s", text.c_str());
}

Status NodeCheck::dimension(int64_t dim, const char* field) const {
  return validator_.dimension(dim, node_name(payload(), index_) + ": " + field);
}

Status NodeCheck::dimensions(const flatbuffers::Vector<int64_t>* dims, const char* field) const {
  return validator_.dimensions(dims, node_name(payload(), index_) + ": " + field);
}

Status NodeCheck::same_as(const char* owner, uint8_t type, uint32_t shape) const {
  if (node_.type() != type) return fail("type %d, the %s holds %d", node_.type(), owner, type);
  const Graph& p = validator_.p_;
  if (p.shape(node_.shape(), p.lower_bounds()) != p.shape(shape, p.lower_bounds()))
    return fail("shape differs from its %s's", owner);
  return validator_.literal_shape(node_.shape(), node_name(payload(), index_));
}

Status NodeCheck::known(const char* field, int value, int min, int max) const {
  return value >= min && value <= max ? ok_status() : fail("%s %d is unknown", field, value);
}

Status NodeCheck::epilogue(const fb::Epilogue* then) const {
  if (!then) return ok_status();
  ETGGML_RETURN_IF_ERROR(known("activation", then->activation(), fb::Activation_MIN, fb::Activation_MAX));
  // Not a number on either side, too.
  if (!(then->min() <= then->max())) return fail("clamp to %g..%g", then->min(), then->max());
  return ok_status();
}

bool finite(std::initializer_list<float> values) {
  for (float v : values) {
    if (!std::isfinite(v)) return false;
  }
  return true;
}

bool in_range(int64_t lo, std::initializer_list<int> values) {
  for (int v : values) {
    if (v < lo || v > 65536) return false;
  }
  return true;
}

}  // namespace etggml::ir
