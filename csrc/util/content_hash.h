// A number for the content of a file, good against accidents: as fast as memory is read.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>

namespace etggml {

/// Of bytes that are given in pieces; all but the last are multiples of kBlock bytes.
class ContentHash {
 public:
  static constexpr size_t kBlock = 64;

  void add(const uint8_t* data, size_t size) {
    size_t at = 0;
    for (; at + kBlock <= size; at += kBlock) block(data + at);
    if (at == size) return;
    uint8_t last[kBlock] = {};
    std::memcpy(last, data + at, size - at);
    block(last);
  }

  bool operator==(const ContentHash& other) const { return lanes_ == other.lanes_; }

 private:
  // A step is one to one for a given word, so a lane never forgets that one word was another.
  void block(const uint8_t* data) {
    for (size_t i = 0; i < lanes_.size(); ++i) {
      uint64_t word;
      std::memcpy(&word, data + i * sizeof(word), sizeof(word));
      const uint64_t x = (lanes_[i] ^ word) * 0x9e3779b97f4a7c15u;
      lanes_[i] = (x << 29 | x >> 35) + 1;
    }
  }

  std::array<uint64_t, kBlock / sizeof(uint64_t)> lanes_{};
};

}  // namespace etggml
