// FileSet from C++: lookup, typed metadata, lifetime, a file that changes under an open map. Files that the parser
// refuses are covered from Python (tests/malformed).
#include <ggml.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <string>
#include <vector>

#include "gguf/file_set.h"

namespace {

namespace gguf = etggml::gguf;

int failures = 0;

#define CHECK(condition)                                                   \
  do {                                                                     \
    if (!(condition)) {                                                    \
      std::fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
      ++failures;                                                          \
    }                                                                      \
  } while (0)

class Writer {
 public:
  template <class T>
  Writer& put(T value) {
    bytes.append(reinterpret_cast<const char*>(&value), sizeof value);
    return *this;
  }
  Writer& text(const std::string& s) {
    put<uint64_t>(s.size());
    bytes += s;
    return *this;
  }
  void pad(size_t alignment) { bytes.resize((bytes.size() + alignment - 1) / alignment * alignment); }
  std::string bytes;
};

// Metadata of a few types; "a" F32 [2, 3] (torch order), "b" Q8_0 [2, 32], "c" BF16 [4].
std::string model() {
  Writer w;
  w.bytes = "GGUF";
  w.put<uint32_t>(3).put<uint64_t>(3).put<uint64_t>(6);
  w.text("general.architecture").put<int32_t>(8).text("test");
  w.text("count").put<int32_t>(4).put<uint32_t>(7);
  w.text("below").put<int32_t>(5).put<int32_t>(-7);
  w.text("half").put<int32_t>(6).put<float>(0.5f);
  w.text("yes").put<int32_t>(7).put<uint8_t>(1);
  w.text("huge").put<int32_t>(10).put<uint64_t>(~uint64_t{0});
  w.text("a").put<uint32_t>(2).put<int64_t>(3).put<int64_t>(2).put<int32_t>(GGML_TYPE_F32).put<uint64_t>(0);
  w.text("b").put<uint32_t>(2).put<int64_t>(32).put<int64_t>(2).put<int32_t>(GGML_TYPE_Q8_0).put<uint64_t>(32);
  w.text("c").put<uint32_t>(1).put<int64_t>(4).put<int32_t>(GGML_TYPE_BF16).put<uint64_t>(128);
  w.pad(32);
  for (int i = 0; i < 6; ++i) w.put<float>(static_cast<float>(i));
  w.pad(32);
  w.bytes.append(68, 'b');
  w.pad(32);
  w.bytes.append(8, 'c');
  w.pad(32);
  return w.bytes;
}

void test_metadata(const gguf::FileSet& files) {
  uint64_t u = 0;
  int64_t i = 0;
  double f = 0;
  bool b = false;
  std::string_view s;
  CHECK(files.kv("count")->as_u64(&u) && u == 7);
  CHECK(files.kv("count")->as_i64(&i) && i == 7);
  CHECK(files.kv("count")->as_f64(&f) && f == 7.0);
  CHECK(!files.kv("count")->as_bool(&b) && !files.kv("count")->as_string(&s));
  CHECK(files.kv("below")->as_i64(&i) && i == -7);
  CHECK(!files.kv("below")->as_u64(&u));
  CHECK(files.kv("half")->as_f64(&f) && f == 0.5);
  CHECK(!files.kv("half")->as_u64(&u) && !files.kv("half")->as_i64(&i));
  CHECK(files.kv("yes")->as_bool(&b) && b);
  CHECK(files.kv("huge")->as_u64(&u) && u == ~uint64_t{0});
  CHECK(!files.kv("huge")->as_i64(&i));
  CHECK(files.kv("general.architecture")->as_string(&s) && s == "test");
  CHECK(!files.kv("general.architecture")->as_f64(&f));
  CHECK(files.kv("nothing") == nullptr && files.kv("") == nullptr);
}

void test_tensors(const gguf::FileSet& files) {
  CHECK(files.tensors().size() == 3);
  const gguf::Tensor* a = files.find("a");
  CHECK(a != nullptr && a->type == GGML_TYPE_F32 && a->n_dims == 2 && a->nbytes == 24);
  CHECK(a->ne[0] == 3 && a->ne[1] == 2 && a->ne[2] == 1 && a->ne[3] == 1);
  CHECK(reinterpret_cast<uintptr_t>(a->data) % 32 == 0);
  float last = 0;
  std::memcpy(&last, a->data + 20, 4);
  CHECK(last == 5.0f);
  CHECK(files.find("aa") == nullptr && files.find("") == nullptr);
  CHECK(files.nearest("bb", 2).front() == "b");
}

}  // namespace

int main() {
  std::string path = "/tmp/gguf_file_set_XXXXXX";
  const int fd = mkstemp(path.data());
  if (fd < 0) return 77;
  close(fd);
  std::ofstream(path, std::ios::binary) << model();

  auto opened = gguf::FileSet::open(path);
  CHECK(opened.ok());
  if (!opened.ok()) {
    std::fprintf(stderr, "%s\n", opened.status().message.c_str());
    return 1;
  }
  std::shared_ptr<const gguf::FileSet> files = opened.take();
  test_metadata(*files);
  test_tensors(*files);

  auto again = gguf::FileSet::open(path);
  CHECK(again.ok() && (*again)->id() == files->id() && again->get() != files.get());
  CHECK(files->check_unchanged().ok());

  // A file that shrinks under the mapping: reading it would be SIGBUS, so this must be noticed before.
  CHECK(truncate(path.c_str(), 100) == 0);
  const etggml::Status changed = files->check_unchanged();
  CHECK(changed.code == ETGGML_IO && changed.message.find(path) != std::string::npos);
  CHECK(!gguf::FileSet::open(path).ok());
  std::remove(path.c_str());
  CHECK(gguf::FileSet::open(path).status().code == ETGGML_IO);

  // Limits.
  std::ofstream(path, std::ios::binary) << model();
  gguf::Limits limits;
  limits.max_string = 3;
  CHECK(gguf::FileSet::open(path, limits).status().code == ETGGML_FORMAT);
  limits.max_string = 4;
  CHECK(gguf::FileSet::open(path, limits).ok());
  std::remove(path.c_str());
  return failures == 0 ? 0 : 1;
}
