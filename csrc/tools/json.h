// nlohmann::json for the tools: objects keep their order, and a missing or mistyped member is no exception.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

using Json = nlohmann::ordered_json;

/// "Discarded" (Json::is_discarded) for text that is not JSON.
inline Json parse_json(const std::string& text) { return Json::parse(text, nullptr, false); }

/// A member, null where there is none.
inline const Json& member(const Json& object, const std::string& name) {
  static const Json none;
  const auto found = object.find(name);
  return found == object.end() ? none : *found;
}

/// Never throws: bytes that are not UTF-8 (a path) are replaced.
inline std::string as_text(const Json& value) { return value.dump(-1, ' ', false, Json::error_handler_t::replace); }

/// A number, 0 for anything else.
inline double number(const Json& value) { return value.is_number() ? value.get<double>() : 0; }
inline double number(const Json& object, const std::string& name) { return number(member(object, name)); }

/// A string, empty for anything else.
inline std::string text(const Json& object, const std::string& name) {
  const Json& value = member(object, name);
  return value.is_string() ? value.get<std::string>() : std::string();
}
