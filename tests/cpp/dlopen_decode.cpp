// A stranger's program: the public header, dlopen, and nothing of ExecuTorch or ggml.
//   dlopen_decode LIBRARY                                 loads it and asks what it is
//   dlopen_decode LIBRARY MODEL.pte MODEL.gguf N TOKEN... feeds the tokens and prints N greedy ones, one a line
#include <dlfcn.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "executorch_ggml.h"

namespace {

void* g_library = nullptr;

template <class Function>
Function* symbol(Function*, const char* name) {
  void* address = dlsym(g_library, name);
  if (address == nullptr) {
    std::fprintf(stderr, "the library has no %s\n", name);
    std::exit(1);
  }
  return reinterpret_cast<Function*>(address);
}
// The header's declaration gives the type; nothing is linked.
#define SYMBOL(name) symbol(static_cast<decltype(&name)>(nullptr), #name)

void check(etggml_status status, const char* what) {
  if (status != ETGGML_OK) {
    std::fprintf(stderr, "%s: error %d: %s\n", what, static_cast<int>(status), SYMBOL(etggml_last_error)());
    std::exit(1);
  }
}

void describe() {
  char* json = nullptr;
  check(SYMBOL(etggml_build_info)(&json), "etggml_build_info");
  std::printf("%s\n", json);
  SYMBOL(etggml_string_free)(json);
  json = nullptr;
  check(SYMBOL(etggml_devices)(&json), "etggml_devices");
  std::printf("%s\n", json);
  const bool cpu = std::strstr(json, "cpu") != nullptr;  // its module lies beside the library and must have been found
  SYMBOL(etggml_string_free)(json);
  if (!cpu) {
    std::fprintf(stderr, "no CPU device\n");
    std::exit(1);
  }
  // A failure is a status and a message, not an end of the process.
  etggml_gguf* gguf = nullptr;
  const etggml_status status = SYMBOL(etggml_gguf_open)("/nonexistent.gguf", nullptr, &gguf);
  if (status != ETGGML_IO || gguf != nullptr ||
      std::strstr(SYMBOL(etggml_last_error)(), "/nonexistent.gguf") == nullptr) {
    std::fprintf(stderr, "opening a missing file: status %d, %s\n", static_cast<int>(status),
                 SYMBOL(etggml_last_error)());
    std::exit(1);
  }
}

void decode(const char* pte, const char* gguf_path, long count, const std::vector<int32_t>& prompt) {
  etggml_gguf* gguf = nullptr;
  check(SYMBOL(etggml_gguf_open)(gguf_path, nullptr, &gguf), "etggml_gguf_open");
  etggml_program* program = nullptr;
  check(SYMBOL(etggml_program_load)(pte, gguf, "{\"threads\": 1}", nullptr, nullptr, &program), "etggml_program_load");
  SYMBOL(etggml_gguf_close)(gguf);  // the program keeps the mapping
  etggml_generator* generator = nullptr;
  check(SYMBOL(etggml_generator_create)(program, nullptr, &generator), "etggml_generator_create");
  check(SYMBOL(etggml_generator_feed)(generator, prompt.data(), prompt.size(), nullptr, nullptr),
        "etggml_generator_feed");
  for (long i = 0; i < count; ++i) {
    int32_t token = -1;
    check(SYMBOL(etggml_generator_next)(generator, &token), "etggml_generator_next");
    std::printf("%d\n", token);
  }
  SYMBOL(etggml_generator_free)(generator);
  SYMBOL(etggml_program_free)(program);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2 && argc < 6) {
    std::fprintf(stderr, "usage: %s LIBRARY [MODEL.pte MODEL.gguf N TOKEN...]\n", argv[0]);
    return 2;
  }
  g_library = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
  if (g_library == nullptr) {
    std::fprintf(stderr, "%s\n", dlerror());
    return 1;
  }
  if (SYMBOL(etggml_abi_version)() != ETGGML_ABI_VERSION) {
    std::fprintf(stderr, "ABI version %u, the header has %d\n", SYMBOL(etggml_abi_version)(), ETGGML_ABI_VERSION);
    return 1;
  }
  if (argc == 2) {
    describe();
    return 0;
  }
  std::vector<int32_t> prompt;
  for (int i = 5; i < argc; ++i) {
    prompt.push_back(static_cast<int32_t>(std::strtol(argv[i], nullptr, 10)));
  }
  decode(argv[2], argv[3], std::strtol(argv[4], nullptr, 10), prompt);
  return 0;
}
