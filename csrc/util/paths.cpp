#include "util/paths.h"

#include <dlfcn.h>

#include <cstdlib>

namespace etggml {

std::string file_of_address(const void* address) {
  Dl_info info;
  if (dladdr(address, &info) == 0 || info.dli_fname == nullptr) return "";
  // A relative dli_fname (the library was named relative to the working directory) must not change meaning when the
  // process changes directory later.
  char* real = realpath(info.dli_fname, nullptr);
  if (real == nullptr) return info.dli_fname;
  std::string path = real;
  std::free(real);
  return path;
}

std::string parent_directory(const std::string& path) {
  const size_t slash = path.find_last_of('/');
  return slash == std::string::npos ? std::string(".") : path.substr(0, slash);
}

const std::string& library_directory() {
  static const std::string* directory = [] {
    const std::string file = file_of_address(reinterpret_cast<const void*>(&library_directory));
    return new std::string(file.empty() ? "" : parent_directory(file));
  }();
  return *directory;
}

}  // namespace etggml
