#include <cstring>
#include <limits>

#include "gguf/file_set.h"

namespace etggml::gguf {

namespace {

constexpr struct {
  uint64_t size;
  const char* name;
} kTypes[] = {{1, "u8"},   {1, "i8"},     {2, "u16"},   {2, "i16"}, {4, "u32"}, {4, "i32"}, {4, "f32"},
              {1, "bool"}, {0, "string"}, {0, "array"}, {8, "u64"}, {8, "i64"}, {8, "f64"}};
constexpr int32_t kTypeCount = static_cast<int32_t>(sizeof kTypes / sizeof kTypes[0]);

template <class T>
T load(const uint8_t* data) {
  T value;
  std::memcpy(&value, data, sizeof value);
  return value;
}

// Any integer as magnitude and sign; false for other types.
bool load_integer(const KeyValue& kv, bool* negative, uint64_t* bits) {
  int64_t value = 0;
  switch (static_cast<ValueType>(kv.type)) {
    case ValueType::U8:
      value = load<uint8_t>(kv.data);
      break;
    case ValueType::I8:
      value = load<int8_t>(kv.data);
      break;
    case ValueType::U16:
      value = load<uint16_t>(kv.data);
      break;
    case ValueType::I16:
      value = load<int16_t>(kv.data);
      break;
    case ValueType::U32:
      value = load<uint32_t>(kv.data);
      break;
    case ValueType::I32:
      value = load<int32_t>(kv.data);
      break;
    case ValueType::I64:
      value = load<int64_t>(kv.data);
      break;
    case ValueType::U64:
      *negative = false;
      *bits = load<uint64_t>(kv.data);
      return true;
    default:
      return false;
  }
  *negative = value < 0;
  *bits = static_cast<uint64_t>(value);
  return true;
}

}  // namespace

uint64_t value_size(int32_t type) { return type >= 0 && type < kTypeCount ? kTypes[type].size : 0; }

const char* value_type_name(int32_t type) { return type >= 0 && type < kTypeCount ? kTypes[type].name : "unknown"; }

bool KeyValue::as_u64(uint64_t* out) const {
  bool negative = false;
  uint64_t bits = 0;
  if (!load_integer(*this, &negative, &bits) || negative) return false;
  *out = bits;
  return true;
}

bool KeyValue::as_i64(int64_t* out) const {
  bool negative = false;
  uint64_t bits = 0;
  if (!load_integer(*this, &negative, &bits)) return false;
  if (!negative && bits > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) return false;
  *out = static_cast<int64_t>(bits);
  return true;
}

bool KeyValue::as_f64(double* out) const {
  if (type == static_cast<int32_t>(ValueType::F32)) {
    *out = load<float>(data);
    return true;
  }
  if (type == static_cast<int32_t>(ValueType::F64)) {
    *out = load<double>(data);
    return true;
  }
  bool negative = false;
  uint64_t bits = 0;
  if (!load_integer(*this, &negative, &bits)) return false;
  *out = negative ? static_cast<double>(static_cast<int64_t>(bits)) : static_cast<double>(bits);
  return true;
}

bool KeyValue::as_bool(bool* out) const {
  if (type != static_cast<int32_t>(ValueType::Bool)) return false;
  *out = data[0] != 0;
  return true;
}

bool KeyValue::as_string(std::string_view* out) const {
  if (type != static_cast<int32_t>(ValueType::String)) return false;
  *out = std::string_view(reinterpret_cast<const char*>(data) + 8, nbytes - 8);
  return true;
}

}  // namespace etggml::gguf
