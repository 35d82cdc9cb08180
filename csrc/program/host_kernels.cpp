#include "program/host_kernels.h"

#include <dlfcn.h>
#include <executorch/runtime/backend/interface.h>
#include <executorch/runtime/kernel/operator_registry.h>

#include <cstring>
#include <mutex>
#include <string>

#include "util/log.h"
#include "util/paths.h"

namespace etggml::program {
namespace {

#if defined(__APPLE__)
constexpr const char* kLibrary = "libexecutorch_kernels_optimized.dylib";
#else
constexpr const char* kLibrary = "libexecutorch_kernels_optimized.so";
#endif

// libexecutorch itself registers a few primitives ("executorch_prim::..."): only ATen operators count.
bool have_aten() {
  for (const auto& kernel : executorch::runtime::get_registered_kernels()) {
    if (kernel.name_ != nullptr && std::strncmp(kernel.name_, "aten::", 6) == 0) return true;
  }
  return false;
}

}  // namespace

void ensure_cpu_kernels() {
  static std::once_flag once;
  std::call_once(once, [] {
    if (have_aten()) return;
    const std::string executorch =
        file_of_address(reinterpret_cast<const void*>(&executorch::runtime::get_num_registered_backends));
    const std::string path = parent_directory(executorch) + "/" + kLibrary;
    // A copy that is loaded but has not registered yet (another thread is inside its initialiser) must not be joined by
    // a second.
    if (dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL | RTLD_NOLOAD) != nullptr) return;
    if (dlopen(kLibrary, RTLD_NOW | RTLD_LOCAL | RTLD_NOLOAD) != nullptr) return;
    if (dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL) == nullptr) {
      log(ETGGML_LOG_WARNING, "CPU operators are not available: %s", dlerror());
    }
  });
}

}  // namespace etggml::program
