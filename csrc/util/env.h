// Environment variables as switches and strings.
#pragma once

#include <cstdlib>
#include <cstring>
#include <string>

namespace etggml {

/// Set, not empty and not "0".
inline bool env_flag(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr && *value != '\0' && std::strcmp(value, "0") != 0;
}

/// The value, or "" when unset.
inline std::string env_string(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? std::string() : std::string(value);
}

}  // namespace etggml
