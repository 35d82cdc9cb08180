#include "util/json.h"

#include <cmath>
#include <vector>

#include "util/nearest.h"

namespace etggml {

namespace {

// Options are flat. Writing a value out, for an error message, takes a stack frame for every level.
constexpr int kMaxDepth = 32;

bool too_deep(const char* text) {
  int depth = 0;
  bool quoted = false;
  for (; *text != '\0'; ++text) {
    if (quoted) {
      if (*text == '\\' && text[1] != '\0') {
        ++text;
      } else {
        quoted = *text != '"';
      }
    } else if (*text == '"') {
      quoted = true;
    } else if ((*text == '[' || *text == '{') && ++depth > kMaxDepth) {
      return true;
    } else if (*text == ']' || *text == '}') {
      --depth;
    }
  }
  return false;
}

}  // namespace

Result<Json> parse_object(const char* text, const char* what) {
  if (text == nullptr || *text == '\0') return Json(Json::object());
  if (too_deep(text))
    return error(ETGGML_INVALID_ARGUMENT, "%s: nested more than %d levels deep: %.200s", what, kMaxDepth, text);
  // The last two arguments: no exceptions, comments not allowed.
  Json value = Json::parse(text, nullptr, false, false);
  if (value.is_discarded()) return error(ETGGML_INVALID_ARGUMENT, "%s: not valid JSON: %.200s", what, text);
  if (!value.is_object())
    return error(ETGGML_INVALID_ARGUMENT, "%s: must be a JSON object, not %s", what, value.type_name());
  return value;
}

Status only_known_keys(const Json& object, std::initializer_list<const char*> known, const char* what) {
  std::vector<std::string> names(known.begin(), known.end());
  for (auto it = object.begin(); it != object.end(); ++it) {
    bool found = false;
    for (const std::string& name : names) found = found || name == it.key();
    if (found) continue;
    const std::vector<std::string> nearest = nearest_names(it.key(), names, 1);
    const std::string hint = nearest.empty() ? "" : " (did you mean '" + nearest[0] + "'?)";
    return error(ETGGML_INVALID_ARGUMENT, "%s: unknown key '%s'%s; known: %s", what, it.key().c_str(), hint.c_str(),
                 join_quoted(names).c_str());
  }
  return ok_status();
}

namespace {

const Json* member(const Json& object, const char* key) {
  const auto it = object.find(key);
  return it == object.end() || it->is_null() ? nullptr : &*it;
}

Status wrong_type(const char* key, const char* wanted, const Json& value) {
  return error(ETGGML_INVALID_ARGUMENT, "option '%s' must be %s, not %s", key, wanted, to_text(value).c_str());
}

}  // namespace

Status read_string(const Json& object, const char* key, std::string* out) {
  const Json* value = member(object, key);
  if (value == nullptr) return ok_status();
  if (!value->is_string()) return wrong_type(key, "a string", *value);
  *out = value->get_ref<const std::string&>();
  return ok_status();
}

Status read_bool(const Json& object, const char* key, bool* out) {
  const Json* value = member(object, key);
  if (value == nullptr) return ok_status();
  if (!value->is_boolean()) return wrong_type(key, "true or false", *value);
  *out = value->get<bool>();
  return ok_status();
}

Status read_int(const Json& object, const char* key, int64_t min, int64_t max, int64_t* out) {
  const Json* value = member(object, key);
  if (value == nullptr) return ok_status();
  if (!value->is_number_integer()) return wrong_type(key, "an integer", *value);
  const bool huge = value->is_number_unsigned() && value->get<uint64_t>() > static_cast<uint64_t>(INT64_MAX);
  const int64_t number = huge ? INT64_MAX : value->get<int64_t>();
  if (huge || number < min || number > max) {
    return error(ETGGML_INVALID_ARGUMENT, "option '%s' must be between %lld and %lld, not %s", key,
                 static_cast<long long>(min), static_cast<long long>(max), to_text(*value).c_str());
  }
  *out = number;
  return ok_status();
}

Status read_double(const Json& object, const char* key, double min, double max, double* out) {
  const Json* value = member(object, key);
  if (value == nullptr) return ok_status();
  if (!value->is_number()) return wrong_type(key, "a number", *value);
  const double number = value->get<double>();
  if (!(number >= min && number <= max)) {
    return error(ETGGML_INVALID_ARGUMENT, "option '%s' must be between %g and %g, not %s", key, min, max,
                 to_text(*value).c_str());
  }
  *out = number;
  return ok_status();
}

std::string to_text(const Json& value) { return value.dump(-1, ' ', false, Json::error_handler_t::replace); }

}  // namespace etggml
