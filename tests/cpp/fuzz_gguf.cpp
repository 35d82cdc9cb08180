// Feeds the GGUF parser mutated files. Two faces of one file:
//   a libFuzzer target (compile with -DETGGML_LIBFUZZER -fsanitize=fuzzer,address,undefined), and
//   a plain program that mutates two valid files a fixed number of times from a fixed seed: fuzz_gguf [iterations]
//   [seed].
//
// Besides not crashing, the parser must keep two promises, checked on every input: whatever it accepts lies inside the
// image and can be walked without bounds checks, and it never holds more than a small multiple of the image's size.
#include <ggml.h>

#include <cinttypes>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>
#include <string>
#include <vector>

#include "gguf/parse.h"

namespace {

size_t g_live = 0, g_peak = 0;  // single-threaded

void* counted_new(size_t size) {
  auto* block = static_cast<size_t*>(std::malloc(size + 16));
  if (block == nullptr) throw std::bad_alloc();
  block[0] = size;
  g_live += size;
  if (g_live > g_peak) g_peak = g_live;
  return reinterpret_cast<char*>(block) + 16;
}

void counted_delete(void* pointer) noexcept {
  if (pointer == nullptr) return;
  auto* block = reinterpret_cast<size_t*>(static_cast<char*>(pointer) - 16);
  g_live -= block[0];
  std::free(block);
}

}  // namespace

void* operator new(size_t size) { return counted_new(size); }
void* operator new[](size_t size) { return counted_new(size); }
void operator delete(void* p) noexcept { counted_delete(p); }
void operator delete[](void* p) noexcept { counted_delete(p); }
void operator delete(void* p, size_t) noexcept { counted_delete(p); }
void operator delete[](void* p, size_t) noexcept { counted_delete(p); }

namespace {

namespace gguf = etggml::gguf;

[[noreturn]] void fail(const char* what) {
  std::fprintf(stderr, "broken promise: %s\n", what);
  std::abort();
}

void check(bool condition, const char* what) {
  if (!condition) fail(what);
}

volatile uint64_t g_sink;

void check_accepted(const gguf::Parsed& parsed, const uint8_t* base, uint64_t size) {
  uint64_t sum = 0;
  const uint8_t* end = base + size;
  for (const gguf::KeyValue& kv : parsed.kvs) {
    check(!kv.key.empty(), "empty key accepted");
    check(kv.data >= base && kv.nbytes <= static_cast<uint64_t>(end - kv.data), "metadata outside the file");
    const bool strings = (kv.type == 9 ? kv.element_type : kv.type) == 8;
    if (!strings) {
      const uint64_t element = gguf::value_size(kv.type == 9 ? kv.element_type : kv.type);
      check(element != 0 && kv.count == kv.nbytes / element && kv.nbytes % element == 0, "metadata of the wrong size");
      for (uint64_t i = 0; i < kv.nbytes; ++i) sum += kv.data[i];
      continue;
    }
    const uint8_t* p = kv.data;
    for (uint64_t i = 0; i < kv.count; ++i) {  // a reader that trusts the parser
      uint64_t length = 0;
      std::memcpy(&length, p, 8);
      p += 8;
      for (uint64_t b = 0; b < length; ++b) sum += p[b];
      p += length;
    }
    check(p == kv.data + kv.nbytes, "strings of the wrong size");
  }
  uint64_t before = parsed.data_offset;
  for (const gguf::Tensor& t : parsed.tensors) {
    check(t.file_offset >= before && t.file_offset % parsed.alignment == 0, "tensors overlap or are unaligned");
    check(t.nbytes > 0 && t.nbytes <= size && t.file_offset <= size - t.nbytes, "tensor outside the file");
    check(t.data == base + t.file_offset, "tensor data is elsewhere");
    uint64_t elements = 1;
    for (int64_t n : t.ne) {
      check(n >= 1, "dimension below 1");
      elements *= static_cast<uint64_t>(n);
    }
    const auto type = static_cast<ggml_type>(t.type);
    check(t.nbytes == elements / static_cast<uint64_t>(ggml_blck_size(type)) * ggml_type_size(type),
          "wrong size in bytes");
    sum += t.data[0] + t.data[t.nbytes - 1];
    before = t.file_offset + t.nbytes;
  }
  g_sink = sum;
}

bool one_input(const uint8_t* data, size_t size) {
  // An exact copy on the heap, so that a sanitizer sees a read one byte past the end.
  std::vector<uint8_t> image(data, data + size);
  const size_t before = g_live;
  g_peak = g_live;
  bool accepted = false;
  {
    const auto parsed = gguf::parse(image.data(), image.size(), "fuzz", gguf::Limits());
    accepted = parsed.ok();
    if (accepted) check_accepted(*parsed, image.data(), image.size());
    if (!accepted) check(!parsed.status().message.empty(), "refused without a message");
    check(g_peak - before <= 6 * size + 4096, "more memory than six times the file");
  }
  check(g_live == before, "memory leaked");
  return accepted;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size > 0) one_input(data, size);
  return 0;
}

#ifndef ETGGML_LIBFUZZER

namespace {

class Writer {
 public:
  template <class T>
  void put(T value) {
    const auto* p = reinterpret_cast<const uint8_t*>(&value);
    bytes.insert(bytes.end(), p, p + sizeof value);
  }
  void text(const std::string& s) {
    put<uint64_t>(s.size());
    bytes.insert(bytes.end(), s.begin(), s.end());
  }
  template <class T>
  void kv(const std::string& key, int32_t type, T value) {
    text(key);
    put(type);
    put(value);
  }
  void pad(size_t alignment) {
    while (bytes.size() % alignment != 0) bytes.push_back(0);
  }
  std::vector<uint8_t> bytes;
};

struct SeedTensor {
  const char* name;
  ggml_type type;
  std::vector<int64_t> ne;
};

std::vector<uint8_t> seed_file(uint32_t version, bool with_alignment) {
  const std::vector<SeedTensor> tensors = {{"a.weight", GGML_TYPE_F32, {8}},
                                           {"b.weight", GGML_TYPE_Q8_0, {32, 2}},
                                           {"c.weight", GGML_TYPE_Q4_K, {256, 1, 1}},
                                           {"d.weight", GGML_TYPE_F16, {3, 2, 2, 2}}};
  Writer w;
  w.bytes = {'G', 'G', 'U', 'F'};
  w.put(version);
  w.put<uint64_t>(tensors.size());
  w.put<uint64_t>(with_alignment ? 15 : 14);
  w.text("general.architecture");
  w.put<int32_t>(8);
  w.text("qwen3");
  w.kv<uint8_t>("u8", 0, 1);
  w.kv<int8_t>("i8", 1, -1);
  w.kv<uint16_t>("u16", 2, 2);
  w.kv<int16_t>("i16", 3, -2);
  w.kv<uint32_t>("u32", 4, 3);
  w.kv<int32_t>("i32", 5, -3);
  w.kv<float>("f32", 6, 1.5f);
  w.kv<uint8_t>("bool", 7, 1);
  w.kv<uint64_t>("u64", 10, 4);
  w.kv<int64_t>("i64", 11, -4);
  w.kv<double>("f64", 12, 2.5);
  w.text("tokens");
  w.put<int32_t>(9);
  w.put<int32_t>(8);
  w.put<uint64_t>(3);
  w.text("hello");
  w.text("");
  w.text("\xc3\xa9");
  w.text("numbers");
  w.put<int32_t>(9);
  w.put<int32_t>(5);
  w.put<uint64_t>(2);
  w.put<int32_t>(7);
  w.put<int32_t>(8);
  const uint32_t alignment = with_alignment ? 64 : 32;
  if (with_alignment) w.kv<uint32_t>("general.alignment", 4, alignment);
  uint64_t offset = 0;
  for (const SeedTensor& t : tensors) {
    w.text(t.name);
    w.put<uint32_t>(static_cast<uint32_t>(t.ne.size()));
    uint64_t elements = 1;
    for (int64_t n : t.ne) {
      w.put(n);
      elements *= static_cast<uint64_t>(n);
    }
    w.put<int32_t>(t.type);
    w.put(offset);
    offset += elements / static_cast<uint64_t>(ggml_blck_size(t.type)) * ggml_type_size(t.type);
    offset = (offset + alignment - 1) / alignment * alignment;
  }
  w.pad(alignment);
  w.bytes.resize(w.bytes.size() + offset, 0x11);
  return w.bytes;
}

class Random {  // splitmix64: the same numbers everywhere
 public:
  explicit Random(uint64_t seed) : state_(seed) {}
  uint64_t next() {
    uint64_t z = (state_ += 0x9E3779B97F4A7C15u);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
  }
  size_t below(size_t n) { return static_cast<size_t>(next() % n); }

 private:
  uint64_t state_;
};

template <class T>
void overwrite(std::vector<uint8_t>* file, Random* random, T value) {
  if (file->size() < sizeof value) return;
  std::memcpy(file->data() + random->below(file->size() - sizeof value + 1), &value, sizeof value);
}

void mutate(std::vector<uint8_t>* file, Random* random) {
  static const uint64_t kInteresting[] = {0,
                                          1,
                                          2,
                                          4,
                                          5,
                                          7,
                                          8,
                                          9,
                                          12,
                                          13,
                                          31,
                                          32,
                                          33,
                                          36,
                                          43,
                                          63,
                                          64,
                                          255,
                                          256,
                                          0x7F,
                                          0x80,
                                          0x7FFF,
                                          0x8000,
                                          0xFFFF,
                                          0x10000,
                                          0x7FFFFFFF,
                                          0x80000000,
                                          0xFFFFFFFF,
                                          1ull << 32,
                                          1ull << 40,
                                          (1ull << 62) - 1,
                                          1ull << 62,
                                          (1ull << 63) - 1,
                                          1ull << 63,
                                          ~0ull,
                                          ~0ull - 31,
                                          ~0ull - 63};
  constexpr size_t kCount = sizeof kInteresting / sizeof kInteresting[0];
  if (file->empty()) return;
  switch (random->below(8)) {
    case 0:
      (*file)[random->below(file->size())] ^= static_cast<uint8_t>(1u << random->below(8));
      break;
    case 1:
      (*file)[random->below(file->size())] = static_cast<uint8_t>(random->next());
      break;
    case 2:
      overwrite<uint64_t>(file, random, kInteresting[random->below(kCount)]);
      break;
    case 3:
      overwrite<uint32_t>(file, random, static_cast<uint32_t>(kInteresting[random->below(kCount)]));
      break;
    case 4:
      file->resize(random->below(file->size()) + 1);
      break;
    case 5: {  // remove a piece
      const size_t from = random->below(file->size());
      const size_t count = random->below(file->size() - from < 40 ? file->size() - from : 40) + 1;
      file->erase(file->begin() + static_cast<ptrdiff_t>(from),
                  file->begin() + static_cast<ptrdiff_t>(from + count > file->size() ? file->size() : from + count));
      break;
    }
    case 6: {  // repeat a piece somewhere else: duplicate keys and tensors
      const size_t from = random->below(file->size());
      const size_t count = random->below(file->size() - from) % 64;
      const std::vector<uint8_t> piece(file->begin() + static_cast<ptrdiff_t>(from),
                                       file->begin() + static_cast<ptrdiff_t>(from + count));
      file->insert(file->begin() + static_cast<ptrdiff_t>(random->below(file->size())), piece.begin(), piece.end());
      break;
    }
    default: {  // the counts in the header, where one wrong value changes everything
      if (file->size() < 24) break;
      const uint64_t count = random->below(2) != 0 ? random->below(32) : kInteresting[random->below(kCount)];
      std::memcpy(file->data() + (random->below(2) != 0 ? 8 : 16), &count, 8);
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  const uint64_t iterations = argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 200000;
  Random random(argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 1);
  const std::vector<uint8_t> seeds[] = {seed_file(3, false), seed_file(2, true)};
  for (const auto& seed : seeds) check(one_input(seed.data(), seed.size()), "a valid file was refused");
  uint64_t accepted = 0;
  for (uint64_t i = 0; i < iterations; ++i) {
    std::vector<uint8_t> file = seeds[random.below(2)];
    for (size_t n = random.below(4) + 1; n > 0; --n) mutate(&file, &random);
    if (!file.empty() && one_input(file.data(), file.size())) ++accepted;
  }
  std::printf("%" PRIu64 " files, %" PRIu64 " accepted\n", iterations, accepted);
  // All or nothing accepted would mean that the mutations, or the parser, do not work.
  return accepted > iterations / 100 && accepted < iterations / 2 ? 0 : 1;
}

#endif
