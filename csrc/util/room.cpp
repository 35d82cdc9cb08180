#include "util/room.h"

#include <cstdint>
#include <cstdlib>

namespace etggml {
namespace {

constexpr size_t kMore = size_t{128} << 10;

}  // namespace

bool room_for(size_t bytes) {
  if (bytes > SIZE_MAX - kMore) return false;
  void* volatile memory = std::malloc(bytes + kMore);  // volatile: else the compiler may leave it out
  const bool there = memory != nullptr;
  std::free(memory);
  return there;
}

}  // namespace etggml
