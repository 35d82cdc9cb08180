// WAV files as mono floats, for programs without an audio library: PCM of 16, 24 and 32 bits, and floats.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

struct Wav {
  uint32_t rate = 0;
  std::vector<float> samples;  // channels averaged
};

namespace wav_detail {

inline uint32_t number(const uint8_t* p, int bytes) {
  uint32_t value = 0;
  for (int i = 0; i < bytes; ++i) value |= static_cast<uint32_t>(p[i]) << (8 * i);
  return value;
}

inline float sample(const uint8_t* p, uint32_t format, uint32_t bits) {
  if (format == 3) {
    float value = 0;
    std::memcpy(&value, p, sizeof value);
    return value;
  }
  const int bytes = static_cast<int>(bits / 8);
  // In the upper bits of 32, where the sign is.
  const uint32_t shifted = number(p, bytes) << (32 - bits);
  return static_cast<float>(static_cast<int32_t>(shifted)) / 2147483648.0f;
}

}  // namespace wav_detail

/// Reads a whole file. Returns its fault, or an empty text. Every length is checked against the file.
inline std::string read_wav(const char* path, Wav* out) {
  std::FILE* file = std::fopen(path, "rb");
  if (file == nullptr) return "the file cannot be opened";
  std::vector<uint8_t> data;
  uint8_t buffer[65536];
  for (size_t n = 0; (n = std::fread(buffer, 1, sizeof buffer, file)) > 0;) data.insert(data.end(), buffer, buffer + n);
  std::fclose(file);
  if (data.size() < 12 || std::memcmp(data.data(), "RIFF", 4) != 0 || std::memcmp(data.data() + 8, "WAVE", 4) != 0)
    return "not a WAV file";
  uint32_t format = 0, channels = 0, bits = 0;
  for (size_t at = 12; data.size() - at >= 8;) {
    const uint8_t* chunk = data.data() + at;
    const size_t size = wav_detail::number(chunk + 4, 4), left = data.size() - at - 8;
    if (size > left)
      return "the file is cut off: a chunk of " + std::to_string(size) + " bytes, " + std::to_string(left) +
             " are there";
    if (std::memcmp(chunk, "fmt ", 4) == 0 && size >= 16) {
      format = wav_detail::number(chunk + 8, 2);
      channels = wav_detail::number(chunk + 10, 2);
      out->rate = wav_detail::number(chunk + 12, 4);
      bits = wav_detail::number(chunk + 22, 2);
      if (format == 0xFFFE && size >= 26) format = wav_detail::number(chunk + 32, 2);  // "extensible": the real one
    } else if (std::memcmp(chunk, "data", 4) == 0) {
      const bool known = (format == 1 && (bits == 16 || bits == 24 || bits == 32)) || (format == 3 && bits == 32);
      if (!known || channels == 0 || channels > 64 || out->rate == 0)
        return "format " + std::to_string(format) + ", " + std::to_string(bits) + " bits, " + std::to_string(channels) +
               " channels, " + std::to_string(out->rate) + " Hz cannot be read";
      const size_t width = bits / 8, frames = size / (width * channels);
      if (frames == 0) return "the file has no samples";
      out->samples.resize(frames);
      for (size_t i = 0; i < frames; ++i) {
        float sum = 0;
        for (size_t c = 0; c < channels; ++c)
          sum += wav_detail::sample(chunk + 8 + (i * channels + c) * width, format, bits);
        if (!std::isfinite(sum)) return "sample " + std::to_string(i) + " is not a finite number";
        out->samples[i] = sum / static_cast<float>(channels);
      }
      return "";
    }
    at += 8 + size + (size & 1);
    if (at > data.size()) break;
  }
  return "the file has no samples";
}
