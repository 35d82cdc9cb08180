// Inputs, outputs, weights, states, constants, expectations.
#include <cstring>

#include "ggml.h"
#include "ir/validate.h"
#include "util/scalar_type.h"

namespace etggml::ir {

bool type_known(int type) {
  return type >= 0 && type < GGML_TYPE_COUNT && ggml_blck_size(static_cast<ggml_type>(type)) > 0 &&
         ggml_type_size(static_cast<ggml_type>(type)) > 0;
}

Status Validator::name(const flatbuffers::String* text, const std::string& where, bool required) const {
  if (!text) return required ? fail("%s is missing", where.c_str()) : ok_status();
  if (text->size() > kMaxName)
    return fail("%s is %u bytes long, the limit is %u", where.c_str(), text->size(), kMaxName);
  if (std::strlen(text->c_str()) != text->size()) return fail("%s contains a NUL byte", where.c_str());
  return ok_status();
}

Status Validator::storage_type(int type, uint32_t shape, const std::string& where) const {
  if (!type_known(type)) return fail("%s: ggml type %d is unknown", where.c_str(), type);
  const int64_t block = ggml_blck_size(static_cast<ggml_type>(type));
  const int64_t columns = g_.shapes()->Get(shape)->ne()->Get(0);
  if (columns % block != 0) {
    return fail("%s: rows of %lld elements are not whole %s blocks of %lld", where.c_str(),
                static_cast<long long>(columns), ggml_type_name(static_cast<ggml_type>(type)),
                static_cast<long long>(block));
  }
  return ok_status();
}

Status Validator::inputs() {
  const uint32_t n = Graph::count(g_.inputs());
  if (n > kMaxBoundary) return fail("%u inputs, more than the limit of %u", n, kMaxBoundary);
  for (uint32_t i = 0; i < n; ++i) {
    const fb::Input& in = *g_.inputs()->Get(i);
    const std::string where = format("input %u", i);
    ETGGML_RETURN_IF_ERROR(name(in.name(), where + ": name", true));
    if (in.kind() < fb::InputKind_MIN || in.kind() > fb::InputKind_MAX)
      return fail("%s: kind %d", where.c_str(), in.kind());
    ETGGML_RETURN_IF_ERROR(dimensions(in.dims(), where + ": dims"));
    if (in.kind() == fb::InputKind_Tensor) {
      if (scalar_size(in.dtype()) == 0) return fail("%s: dtype %d is unknown", where.c_str(), in.dtype());
    } else if (Graph::count(in.dims()) != 0) {
      return fail("%s: a scalar with dimensions", where.c_str());
    }
  }
  p_.input_used_.assign(n, false);
  return ok_status();
}

Status Validator::outputs() {
  const uint32_t n = Graph::count(g_.outputs());
  if (n > kMaxBoundary) return fail("%u outputs, more than the limit of %u", n, kMaxBoundary);
  for (uint32_t i = 0; i < n; ++i) {
    const fb::Output& out = *g_.outputs()->Get(i);
    const std::string where = format("output %u", i);
    ETGGML_RETURN_IF_ERROR(name(out.name(), where + ": name", false));
    if (out.value() >= p_.node_count()) return fail("%s: value %u of %u", where.c_str(), out.value(), p_.node_count());
    if (scalar_size(out.dtype()) == 0) return fail("%s: dtype %d is unknown", where.c_str(), out.dtype());
    ETGGML_RETURN_IF_ERROR(dimensions(out.dims(), where + ": dims"));
    if (p_.node(out.value()).op_type() == fb::Op_CausalMask)
      return fail("%s: a mask cannot be an output", where.c_str());
  }
  return ok_status();
}

Status Validator::weights() {
  const uint32_t n = Graph::count(g_.weights());
  if (n > kMaxSlots) return fail("%u weights, more than the limit of %u", n, kMaxSlots);
  for (uint32_t i = 0; i < n; ++i) {
    const fb::WeightSlot& w = *g_.weights()->Get(i);
    std::string where = format("weight %u", i);
    ETGGML_RETURN_IF_ERROR(name(w.name(), where + ": name", true));
    where += format(" '%.80s'", w.name()->c_str());
    const uint32_t n_parts = Graph::count(w.parts());
    if (n_parts < 1) return fail("%s: it has no parts", where.c_str());
    for (uint32_t p = 0; p < n_parts; ++p) {
      const auto* keys = w.parts()->Get(p)->keys();
      if (Graph::count(keys) < 1) return fail("%s: part %u has no keys", where.c_str(), p);
      for (const auto* key : *keys) {
        ETGGML_RETURN_IF_ERROR(name(key, format("%s: key of part %u", where.c_str(), p), true));
        if (key->size() == 0) return fail("%s: part %u has an empty key", where.c_str(), p);
      }
    }
    ETGGML_RETURN_IF_ERROR(literal_shape(w.shape(), where));
    for (int type : {static_cast<int>(w.type()), static_cast<int>(w.cast())}) {
      if (type != 255) ETGGML_RETURN_IF_ERROR(storage_type(type, w.shape(), where));
    }
    if (w.usage() < fb::WeightUsage_MIN || w.usage() > fb::WeightUsage_MAX) {
      return fail("%s: usage %d is unknown", where.c_str(), w.usage());
    }
  }
  return ok_status();
}

Status Validator::states() {
  const uint32_t n = Graph::count(g_.states());
  if (n > kMaxSlots) return fail("%u states, more than the limit of %u", n, kMaxSlots);
  for (uint32_t i = 0; i < n; ++i) {
    const fb::StateSlot& s = *g_.states()->Get(i);
    std::string where = format("state %u", i);
    ETGGML_RETURN_IF_ERROR(name(s.name(), where + ": name", true));
    where += format(" '%.80s'", s.name()->c_str());
    ETGGML_RETURN_IF_ERROR(name(s.initial(), where + ": initial", false));
    ETGGML_RETURN_IF_ERROR(literal_shape(s.shape(), where));
    ETGGML_RETURN_IF_ERROR(storage_type(s.type(), s.shape(), where));
    if (s.kind() < fb::StateKind_MIN || s.kind() > fb::StateKind_MAX)
      return fail("%s: kind %d", where.c_str(), s.kind());
  }
  return ok_status();
}

Status Validator::constants() {
  const uint32_t n = Graph::count(g_.constants());
  if (n > kMaxSlots) return fail("%u constants, more than the limit of %u", n, kMaxSlots);
  for (uint32_t i = 0; i < n; ++i) {
    const fb::Constant& c = *g_.constants()->Get(i);
    const std::string where = format("constant %u", i);
    ETGGML_RETURN_IF_ERROR(literal_shape(c.shape(), where));
    ETGGML_RETURN_IF_ERROR(storage_type(c.type(), c.shape(), where));
    const auto type = static_cast<ggml_type>(c.type());
    const uint64_t elements = static_cast<uint64_t>(element_count(p_.shape(c.shape(), p_.symbol_min_)));
    const uint64_t bytes = elements / static_cast<uint64_t>(ggml_blck_size(type)) * ggml_type_size(type);
    if (Graph::count(c.data()) != bytes) {
      return fail("%s: data has %u bytes, its shape and type need %llu", where.c_str(), Graph::count(c.data()),
                  static_cast<unsigned long long>(bytes));
    }
  }
  return ok_status();
}

Status Validator::expectations() {
  const uint32_t n = Graph::count(g_.expectations());
  if (n > kMaxSlots) return fail("%u expectations, more than the limit of %u", n, kMaxSlots);
  for (uint32_t i = 0; i < n; ++i) {
    const fb::Expectation& e = *g_.expectations()->Get(i);
    ETGGML_RETURN_IF_ERROR(name(e.key(), format("expectation %u: key", i), true));
    if (!e.value()) return fail("expectation %u: value is missing", i);
  }
  ETGGML_RETURN_IF_ERROR(name(g_.producer(), "producer", false));
  return name(g_.namespace_key(), "namespace_key", false);
}

}  // namespace etggml::ir
