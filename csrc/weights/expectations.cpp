#include "weights/expectations.h"

#include <cmath>
#include <cstring>
#include <string_view>

namespace etggml::weights {
namespace {

constexpr uint64_t kMaxArray = 64;

template <class T>
T read(const uint8_t* data) {
  T value;
  std::memcpy(&value, data, sizeof value);
  return value;
}

// One element of a fixed-size type, at `data`.
Json scalar_json(int32_t type, const uint8_t* data) {
  switch (static_cast<gguf::ValueType>(type)) {
    case gguf::ValueType::U8:
      return read<uint8_t>(data);
    case gguf::ValueType::I8:
      return read<int8_t>(data);
    case gguf::ValueType::U16:
      return read<uint16_t>(data);
    case gguf::ValueType::I16:
      return read<int16_t>(data);
    case gguf::ValueType::U32:
      return read<uint32_t>(data);
    case gguf::ValueType::I32:
      return read<int32_t>(data);
    case gguf::ValueType::F32:
      return read<float>(data);
    case gguf::ValueType::Bool:
      return read<uint8_t>(data) != 0;
    case gguf::ValueType::U64:
      return read<uint64_t>(data);
    case gguf::ValueType::I64:
      return read<int64_t>(data);
    case gguf::ValueType::F64:
      return read<double>(data);
    default:
      return nullptr;
  }
}

std::string_view string_at(const uint8_t* data) {
  return {reinterpret_cast<const char*>(data) + sizeof(uint64_t), static_cast<size_t>(read<uint64_t>(data))};
}

}  // namespace

namespace detail {

Json metadata_json(const gguf::KeyValue& kv) {
  if (kv.type == static_cast<int32_t>(gguf::ValueType::String)) return std::string(string_at(kv.data));
  if (kv.type != static_cast<int32_t>(gguf::ValueType::Array)) return scalar_json(kv.type, kv.data);
  Json list = Json::array();
  const uint8_t* at = kv.data;
  for (uint64_t i = 0; i < kv.count; ++i) {
    if (i == kMaxArray) {
      list.push_back("...");
      break;
    }
    if (kv.element_type == static_cast<int32_t>(gguf::ValueType::String)) {
      const std::string_view text = string_at(at);
      list.push_back(std::string(text));
      at += sizeof(uint64_t) + text.size();
    } else {
      list.push_back(scalar_json(kv.element_type, at));
      at += gguf::value_size(kv.element_type);
    }
  }
  return list;
}

bool same_value(const Json& expected, const Json& found) {
  if (expected.is_boolean() || found.is_boolean()) return expected == found;
  if (expected.is_number() && found.is_number()) {
    if (expected.is_number_integer() && found.is_number_integer()) return expected == found;
    const double a = expected.get<double>(), b = found.get<double>();
    return std::fabs(a - b) <= 1e-6 * std::fmax(std::fabs(a), std::fabs(b));
  }
  if (expected.is_array() && found.is_array()) {
    if (expected.size() != found.size()) return false;
    for (size_t i = 0; i < expected.size(); ++i) {
      if (!same_value(expected[i], found[i])) return false;
    }
    return true;
  }
  return expected == found;
}

}  // namespace detail

void check_expectations(const ir::Graph& ir_graph, const gguf::FileSet& files, Report* report) {
  const auto* expectations = ir_graph.payload().expectations();
  if (expectations == nullptr) return;
  for (const auto* e : *expectations) {
    if (e == nullptr || e->key() == nullptr || e->value() == nullptr) continue;
    Problem problem;
    problem.kind = Problem::Kind::Metadata;
    problem.key = e->key()->str();
    problem.expected = e->value()->str();
    const gguf::KeyValue* kv = files.kv(problem.key);
    const Json wanted = Json::parse(problem.expected, nullptr, false);
    if (kv == nullptr) {
      problem.found = "nothing";
      problem.message = format("metadata '%s' is missing from %s; the graph was exported for %s", problem.key.c_str(),
                               files.path().c_str(), problem.expected.c_str());
    } else {
      const Json found = detail::metadata_json(*kv);
      if (!wanted.is_discarded() && detail::same_value(wanted, found)) continue;
      problem.found = to_text(found);
      problem.message =
          format("metadata '%s' is %s in %s, but the graph was exported for %s: these weights belong to another model",
                 problem.key.c_str(), problem.found.c_str(), files.path().c_str(), problem.expected.c_str());
    }
    report->add(std::move(problem));
  }
}

}  // namespace etggml::weights
