// Name -> position in a vector of elements that carry their name: the positions sorted by name. Unlike a hash table
// it costs 4 bytes an entry and no choice of names makes it slow.
#pragma once

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <string_view>
#include <utility>
#include <vector>

namespace etggml::gguf {

/// name_of(i) -> string_view of entry i. Returns {first, again}: two entries of the same name, or {-1, -1}.
template <class NameOf>
std::pair<int64_t, int64_t> build_index(std::vector<uint32_t>* index, size_t count, NameOf name_of) {
  index->resize(count);
  std::iota(index->begin(), index->end(), 0u);
  std::sort(index->begin(), index->end(), [&](uint32_t a, uint32_t b) {
    const int order = name_of(a).compare(name_of(b));
    return order != 0 ? order < 0 : a < b;
  });
  for (size_t i = 1; i < count; ++i) {
    if (name_of((*index)[i - 1]) == name_of((*index)[i])) return {(*index)[i - 1], (*index)[i]};
  }
  return {-1, -1};
}

template <class NameOf>
int64_t find_in_index(const std::vector<uint32_t>& index, std::string_view name, NameOf name_of) {
  const auto it = std::lower_bound(index.begin(), index.end(), name,
                                   [&](uint32_t i, std::string_view n) { return name_of(i) < n; });
  return it != index.end() && name_of(*it) == name ? static_cast<int64_t>(*it) : -1;
}

}  // namespace etggml::gguf
