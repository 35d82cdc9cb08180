// Damaged external data: whatever check_ptd accepts lies inside the file and can be read without a check.
// A libFuzzer target, or a fixed number of mutations of one file: fuzz_ptd [iterations] [seed].
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <vector>

#include "program/ptd_check.h"
#include "ptd_generated.h"

namespace {

namespace fb = etggml::ptd::fb;
using Bytes = std::vector<uint8_t>;

constexpr size_t kHeaderAt = 8, kHeader = 40;

// Two tensors and a blob. The header lies behind the identifier, and offsets of the tables reach across it.
Bytes seed_file() {
  flatbuffers::FlatBufferBuilder b;
  const std::vector<int32_t> sizes{2, 3}, scalar;
  const std::vector<uint8_t> order{0, 1}, none;
  const auto matrix = fb::CreateLayoutDirect(b, 6, &sizes, &order);
  const auto number = fb::CreateLayoutDirect(b, 4, &scalar, &none);
  const std::vector<flatbuffers::Offset<fb::Segment>> segments{fb::CreateSegment(b, 0, 24), fb::CreateSegment(b, 32, 8),
                                                               fb::CreateSegment(b, 64, 5)};
  const std::vector<flatbuffers::Offset<fb::Entry>> entries{fb::CreateEntryDirect(b, "weight", 0, matrix),
                                                            fb::CreateEntryDirect(b, "number", 1, number),
                                                            fb::CreateEntryDirect(b, "blob", 2, 0)};
  b.Finish(fb::CreateFileDirect(b, 0, &segments, &entries), fb::FileIdentifier());
  Bytes file(b.GetBufferPointer(), b.GetBufferPointer() + b.GetSize());
  file.insert(file.begin() + kHeaderAt, kHeader, 0);
  uint32_t root;
  std::memcpy(&root, file.data(), 4);
  root += kHeader;
  std::memcpy(file.data(), &root, 4);
  const uint32_t length = kHeader;
  const uint64_t base = (file.size() + 63) / 64 * 64;
  const uint64_t fields[] = {kHeaderAt + kHeader, file.size() - kHeaderAt - kHeader, base, 96};
  std::memcpy(file.data() + kHeaderAt, "FH01", 4);
  std::memcpy(file.data() + kHeaderAt + 4, &length, 4);
  std::memcpy(file.data() + kHeaderAt + 8, fields, sizeof fields);
  file.resize(base + 96, 0x5A);
  return file;
}

volatile uint64_t sink;

// Reads all that ExecuTorch would, of a copy that ends where the file does (a sanitizer sees a byte too far).
bool try_file(const Bytes& file) {
  const etggml::Status status = etggml::program::check_ptd(file.data(), file.size(), "fuzz.ptd");
  if (!status.ok()) {
    if (status.code != ETGGML_FORMAT || status.message.empty()) std::abort();
    return false;
  }
  uint64_t base, sum = 0;
  std::memcpy(&base, file.data() + kHeaderAt + 24, 8);
  const fb::File& tables = *fb::GetFile(file.data());
  for (const fb::Entry* entry : *tables.entries()) {
    sum += entry->key()->size() + std::strlen(entry->key()->c_str());
    const fb::Segment& segment = *tables.segments()->Get(entry->segment());
    if (base + segment.offset() + segment.size() > file.size()) std::abort();
    for (uint64_t i = 0; i < segment.size(); ++i) sum += file[base + segment.offset() + i];
    if (entry->layout() == nullptr) continue;
    for (const int32_t size : *entry->layout()->sizes()) sum += static_cast<uint64_t>(size);
    for (const uint8_t place : *entry->layout()->dim_order()) sum += place;
  }
  sink = sum;
  return true;
}

}  // namespace

#if defined(ETGGML_LIBFUZZER)
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  try_file(Bytes(data, data + size));
  return 0;
}
#else
int main(int argc, char** argv) {
  const int iterations = argc > 1 ? std::atoi(argv[1]) : 40000;
  std::mt19937 rng(argc > 2 ? static_cast<unsigned>(std::atoi(argv[2])) : 1u);
  const Bytes seed = seed_file();
  if (!try_file(seed)) {
    std::puts("the undamaged file was refused");
    return 1;
  }
  const uint64_t values[] = {0,   1,   2,        4,        8,          16,         24,         25,
                             100, 255, 1u << 15, 1u << 31, UINT32_MAX, 1ull << 40, UINT64_MAX, UINT64_MAX - 8};
  int accepted = 0;
  for (int i = 0; i < iterations; ++i) {
    Bytes file = seed;
    for (unsigned edits = rng() % 3 + 1; edits > 0; --edits) {
      const size_t width = size_t{1} << rng() % 4;
      const size_t at = rng() % (seed.size() - 96) / width * width;
      uint64_t value = rng() % 2 == 0 ? values[rng() % (sizeof values / sizeof *values)] : rng();
      if (at + width <= file.size()) std::memcpy(file.data() + at, &value, width);
    }
    if (rng() % 16 == 0) file.resize(rng() % (file.size() + 1));
    file.shrink_to_fit();
    accepted += try_file(file);
  }
  std::printf("%d of %d accepted\n", accepted, iterations);
  return accepted > iterations / 50 && accepted < iterations ? 0 : 1;
}
#endif
