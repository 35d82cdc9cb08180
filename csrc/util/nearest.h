// "Did you mean": the names closest to one that was not found.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace etggml {

/// Up to `limit` of `candidates`, closest first (Levenshtein distance; ties keep the given order). Names further away
/// than half the length of `name` are left out: a far name is noise, not help.
std::vector<std::string> nearest_names(const std::string& name, const std::vector<std::string>& candidates,
                                       size_t limit = 3);

/// "a", "b", "c"  ->  "'a', 'b', 'c'"; empty input gives an empty string.
std::string join_quoted(const std::vector<std::string>& names);

}  // namespace etggml
