#include "program/layout.h"

#include <array>
#include <cstring>

namespace etggml::program {
namespace {

constexpr size_t kMaxRank = 16;

// Walks the elements in row-major order and tells of each where it lies in `order`, counted in elements.
template <class Visit>
void walk(const uint8_t* order, const int64_t* shape, size_t rank, Visit visit) {
  std::array<int64_t, kMaxRank> stride{}, index{};
  int64_t count = 1;
  for (size_t i = rank; i-- > 0;) {
    stride[order[i]] = count;
    count *= shape[order[i]];
  }
  int64_t place = 0;
  for (int64_t element = 0; element < count; ++element) {
    visit(static_cast<size_t>(element), static_cast<size_t>(place));
    for (size_t d = rank; d-- > 0;) {
      place += stride[d];
      if (++index[d] < shape[d]) break;
      place -= stride[d] * shape[d];
      index[d] = 0;
    }
  }
}

}  // namespace

Result<std::vector<uint8_t>> checked_order(const uint8_t* order, size_t count, size_t rank, const std::string& path,
                                           const std::string& method, const std::string& value) {
  uint32_t seen = 0;
  for (size_t i = 0; i < count && count == rank && rank <= kMaxRank; ++i) {
    if (order[i] < rank) seen |= 1u << order[i];
  }
  if (count != rank || rank > kMaxRank || seen != (1u << rank) - 1) {
    return error(ETGGML_FORMAT, "%s, method '%s', %s: the order of its dimensions does not name each of them once",
                 path.c_str(), method.c_str(), value.c_str());
  }
  return std::vector<uint8_t>(order, order + count);
}

bool is_row_major(const uint8_t* order, const int64_t* shape, size_t rank) {
  int last = -1;
  for (size_t i = 0; i < rank; ++i) {
    if (shape[order[i]] == 1) continue;
    if (order[i] < last) return false;
    last = order[i];
  }
  return true;
}

void from_row_major(const uint8_t* order, const int64_t* shape, size_t rank, size_t size, const void* from, void* to) {
  const auto* source = static_cast<const uint8_t*>(from);
  auto* target = static_cast<uint8_t*>(to);
  walk(order, shape, rank,
       [&](size_t plain, size_t place) { std::memcpy(target + place * size, source + plain * size, size); });
}

void to_row_major(const uint8_t* order, const int64_t* shape, size_t rank, size_t size, const void* from, void* to) {
  const auto* source = static_cast<const uint8_t*>(from);
  auto* target = static_cast<uint8_t*>(to);
  walk(order, shape, rank,
       [&](size_t plain, size_t place) { std::memcpy(target + plain * size, source + place * size, size); });
}

}  // namespace etggml::program
