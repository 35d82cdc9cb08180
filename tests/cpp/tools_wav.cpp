// The tools' WAV reader: every format that it takes, channels, chunks beside the samples, and files that are damaged.
#include <cstdlib>
#include <string>
#include <vector>

#include "check.h"
#include "tools/wav.h"

namespace {

std::string bytes(uint64_t value, int count) {
  std::string out;
  for (int i = 0; i < count; ++i) out += static_cast<char>(value >> (8 * i) & 0xFF);
  return out;
}

std::string chunk(const std::string& name, const std::string& data) {
  return name + bytes(data.size(), 4) + data + (data.size() % 2 ? std::string(1, '\0') : "");
}

std::string format(int kind, int channels, int rate, int bits, const std::string& more = "") {
  const int width = channels * bits / 8;
  return chunk("fmt ", bytes(static_cast<uint64_t>(kind), 2) + bytes(static_cast<uint64_t>(channels), 2) +
                           bytes(static_cast<uint64_t>(rate), 4) + bytes(static_cast<uint64_t>(rate * width), 4) +
                           bytes(static_cast<uint64_t>(width), 2) + bytes(static_cast<uint64_t>(bits), 2) + more);
}

std::string whole(const std::string& chunks) { return "RIFF" + bytes(chunks.size() + 4, 4) + "WAVE" + chunks; }

/// The problem that reading finds, empty for none.
std::string read(const std::string& data, Wav* wav) {
  char path[] = "/tmp/etggml_wav_XXXXXX";
  const int fd = mkstemp(path);
  CHECK(fd >= 0);
  std::FILE* file = fdopen(fd, "wb");
  std::fwrite(data.data(), 1, data.size(), file);
  std::fclose(file);
  const std::string problem = read_wav(path, wav);
  std::remove(path);
  return problem;
}

bool finds(const std::string& data, const char* problem) {
  Wav wav;
  const std::string said = read(data, &wav);
  if (said.find(problem) == std::string::npos) std::printf("'%s' instead of '%s'\n", said.c_str(), problem);
  return said.find(problem) != std::string::npos;
}

void formats() {
  for (const int bits : {16, 24, 32}) {
    const double full = static_cast<double>(int64_t{1} << (bits - 1));
    const std::vector<double> parts = {0, 0.5, -0.5, -1, 0.25, -0.125};
    std::string data;
    for (const double part : parts) data += bytes(static_cast<uint64_t>(static_cast<int64_t>(part * full)), bits / 8);
    // One more channel layout: the same numbers as three frames of two channels.
    Wav mono, stereo, extensible;
    CHECK(read(whole(format(1, 1, 16000, bits) + chunk("data", data)), &mono).empty());
    CHECK(mono.rate == 16000 && mono.samples.size() == parts.size());
    for (size_t i = 0; i < mono.samples.size(); ++i) CHECK(mono.samples[i] == static_cast<float>(parts[i]));
    CHECK(read(whole(chunk("LIST", "odd") + format(1, 2, 44100, bits) + chunk("data", data)), &stereo).empty());
    CHECK(stereo.rate == 44100 && stereo.samples.size() == 3);
    for (size_t i = 0; i < stereo.samples.size(); ++i)
      CHECK(stereo.samples[i] == static_cast<float>((parts[2 * i] + parts[2 * i + 1]) / 2));
    const std::string guid = bytes(22, 2) + bytes(static_cast<uint64_t>(bits), 2) + bytes(0, 4) + bytes(1, 2);
    CHECK(read(whole(format(0xFFFE, 1, 8000, bits, guid + std::string(14, '\0')) + chunk("data", data)), &extensible)
              .empty());
    CHECK(extensible.samples == mono.samples);
  }
  const float values[] = {0.1f, -1.5f};  // floats may be beyond 1
  Wav floats;
  const std::string data(reinterpret_cast<const char*>(values), sizeof values);
  CHECK(read(whole(format(3, 1, 16000, 32) + chunk("data", data)), &floats).empty());
  CHECK(floats.samples.size() == 2 && floats.samples[0] == 0.1f && floats.samples[1] == -1.5f);
}

void damage() {
  Wav wav;
  CHECK(read_wav("/nowhere/a.wav", &wav) == "the file cannot be opened");
  CHECK(finds("", "not a WAV file"));
  CHECK(finds("RIFF____AVI ", "not a WAV file"));
  CHECK(finds(whole(""), "no samples"));
  CHECK(finds(whole(format(1, 1, 16000, 16) + chunk("data", "")), "no samples"));
  CHECK(finds(whole(format(1, 1, 16000, 16) + "data" + bytes(100, 4) + "ab"), "cut off: a chunk of 100 bytes, 2 are"));
  CHECK(finds(whole(format(1, 1, 16000, 16) + "data" + bytes(0xFFFFFFFF, 4) + "ab"), "cut off"));
  CHECK(finds(whole(chunk("data", "abcd")), "format 0"));
  CHECK(finds(whole(format(1, 1, 16000, 8) + chunk("data", "abcd")), "8 bits"));
  CHECK(finds(whole(format(1, 0, 16000, 16) + chunk("data", "abcd")), "0 channels"));
  CHECK(finds(whole(format(1, 1, 0, 16) + chunk("data", "abcd")), "0 Hz"));
  CHECK(finds(whole(format(3, 1, 16000, 32) + chunk("data", bytes(0x7FC00000, 4))), "not a finite number"));
}

}  // namespace

int main() {
  formats();
  damage();
  return failures() != 0;
}
