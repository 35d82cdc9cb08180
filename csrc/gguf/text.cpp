#include "gguf/text.h"

#include <cstddef>
#include <cstdint>
#include <cstdio>

namespace etggml::gguf {

namespace {

// Length of the well-formed sequence at text[i], 0 when there is none (table 3-7 of the Unicode standard).
size_t sequence_length(std::string_view text, size_t i) {
  auto byte = [&](size_t k) { return static_cast<uint8_t>(text[k]); };
  auto continuation = [&](size_t k) { return k < text.size() && (byte(k) & 0xC0) == 0x80; };
  const uint8_t first = byte(i);
  if (first < 0x80) return 1;
  if (first >= 0xC2 && first <= 0xDF) return continuation(i + 1) ? 2 : 0;
  if (first >= 0xE0 && first <= 0xEF) {
    if (!continuation(i + 1) || !continuation(i + 2)) return 0;
    if (first == 0xE0 && byte(i + 1) < 0xA0) return 0;  // overlong
    if (first == 0xED && byte(i + 1) > 0x9F) return 0;  // surrogate
    return 3;
  }
  if (first >= 0xF0 && first <= 0xF4) {
    if (!continuation(i + 1) || !continuation(i + 2) || !continuation(i + 3)) return 0;
    if (first == 0xF0 && byte(i + 1) < 0x90) return 0;
    if (first == 0xF4 && byte(i + 1) > 0x8F) return 0;
    return 4;
  }
  return 0;
}

}  // namespace

bool valid_utf8(std::string_view text) {
  for (size_t i = 0; i < text.size();) {
    const size_t n = sequence_length(text, i);
    if (n == 0) return false;
    i += n;
  }
  return true;
}

std::string quote(std::string_view text) {
  constexpr size_t kMax = 80;
  std::string out = "'";
  size_t i = 0;
  while (i < text.size() && out.size() < kMax) {
    const size_t n = sequence_length(text, i);
    const auto first = static_cast<uint8_t>(text[i]);
    if (n > 1 || (n == 1 && first >= 0x20 && first != 0x7F && first != '\'')) {
      out.append(text.substr(i, n));
      i += n;
    } else {
      char escaped[8];
      std::snprintf(escaped, sizeof escaped, "\\x%02x", first);
      out += escaped;
      ++i;
    }
  }
  out += i < text.size() ? "...'" : "'";
  return out;
}

}  // namespace etggml::gguf
