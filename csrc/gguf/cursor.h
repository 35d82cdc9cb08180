// A bounds-checked position in a mapped file. The only code of the reader that touches bytes of the header.
#pragma once

#include <cstdint>
#include <cstring>
#include <string_view>
#include <type_traits>

namespace etggml::gguf {

class Cursor {
 public:
  Cursor(const uint8_t* base, uint64_t size) : base_(base), size_(size) {}

  uint64_t position() const { return position_; }
  uint64_t remaining() const { return size_ - position_; }
  const uint8_t* here() const { return base_ + position_; }

  /// False, and nothing moves, when the file ends first. Values are unaligned in the file, hence memcpy.
  template <class T>
  bool read(T* out) {
    static_assert(std::is_trivially_copyable_v<T>);
    if (remaining() < sizeof(T)) return false;
    std::memcpy(out, here(), sizeof(T));
    position_ += sizeof(T);
    return true;
  }

  bool skip(uint64_t bytes) {
    if (remaining() < bytes) return false;
    position_ += bytes;
    return true;
  }

 private:
  const uint8_t* base_;
  uint64_t size_;
  uint64_t position_ = 0;  // invariant: <= size_
};

/// a * b into *out; false when it does not fit.
inline bool multiply(uint64_t a, uint64_t b, uint64_t* out) { return !__builtin_mul_overflow(a, b, out); }
inline bool add(uint64_t a, uint64_t b, uint64_t* out) { return !__builtin_add_overflow(a, b, out); }
/// value rounded up to a multiple of a power of two; false when it does not fit.
inline bool round_up(uint64_t value, uint64_t alignment, uint64_t* out) {
  if (!add(value, alignment - 1, out)) return false;
  *out &= ~(alignment - 1);
  return true;
}

}  // namespace etggml::gguf
