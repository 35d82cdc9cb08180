// nlohmann::json behind functions that never throw.
#pragma once

#include <initializer_list>
#include <nlohmann/json.hpp>
#include <string>

#include "util/status.h"

namespace etggml {

using Json = nlohmann::json;

/// A JSON object from `text` (NULL or "" = {}). ETGGML_INVALID_ARGUMENT for anything else; `what` names it in the
/// message.
Result<Json> parse_object(const char* text, const char* what);

/// Refuses keys that are not in `known`, naming the nearest and all that exist.
Status only_known_keys(const Json& object, std::initializer_list<const char*> known, const char* what);

/// Typed optional members: *out is left alone when the key is missing. A wrong type or a number outside [min, max] is
/// ETGGML_INVALID_ARGUMENT naming the key.
Status read_string(const Json& object, const char* key, std::string* out);
Status read_bool(const Json& object, const char* key, bool* out);
Status read_int(const Json& object, const char* key, int64_t min, int64_t max, int64_t* out);
Status read_double(const Json& object, const char* key, double min, double max, double* out);

/// Serialised without throwing: bytes that are not UTF-8 are replaced.
std::string to_text(const Json& value);

}  // namespace etggml
