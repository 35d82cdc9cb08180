// Text helpers of the reader: strings in a GGUF file are untrusted bytes until checked.
#pragma once

#include <string>
#include <string_view>

namespace etggml::gguf {

/// Well-formed UTF-8 (no overlong forms, no surrogates, nothing above U+10FFFF).
bool valid_utf8(std::string_view text);

/// 'text' with everything unprintable or malformed as \xNN, shortened to about 80 bytes: safe inside any message.
std::string quote(std::string_view text);

}  // namespace etggml::gguf
