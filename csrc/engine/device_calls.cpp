#include "engine/device_calls.h"

#include <dlfcn.h>

#include <cstdlib>
#include <map>
#include <memory>
#include <mutex>
#include <utility>

#include "fusion/host_fallback.h"
#include "ggml_ext/etggml_cuda_hook.h"
#include "kernels/custom_op.h"
#include "util/env.h"
#include "util/fork.h"
#include "util/log.h"
#include "util/paths.h"

namespace etggml::engine {
namespace {

constexpr const char* kModule = "libetggml-cuda.so";

const cuda::Module* module = nullptr;
/// ggml-cuda launches on the thread that asks it to compute.
thread_local std::string failed_call;
thread_local bool launched = false;

bool hook_supports(int device, const ggml_tensor* node) {
  return module->supports(device, fusion::descriptor_of(node));
}
/// ggml asserts that a node could be computed, which ends the process: so it is told that it was, and the step fails.
bool hook_compute(int device, void* stream, ggml_tensor* node) {
  launched = true;
  if (!module->launch(device, stream, fusion::descriptor_of(node)))
    note_failed_call(kernels::op_name(node), node->name);
  return true;
}

/// Loads the module that lies beside ggml-cuda and tells ggml-cuda of it. Without one ggml's kernels do everything.
bool load_module(ggml_backend_dev_t device) {
  const auto set_hook = devices::backend_function<etggml_cuda_set_hook_fn>(device, "etggml_cuda_set_hook");
  if (set_hook == nullptr) return false;
  const std::string path = parent_directory(file_of_address(reinterpret_cast<const void*>(set_hook))) + "/" + kModule;
  void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    log(ETGGML_LOG_INFO, "kernels for decoding on the GPU are not available: %s", dlerror());
    return false;
  }
  using Entry = const cuda::Module* (*)();
  const auto entry = reinterpret_cast<Entry>(dlsym(library, cuda::kModuleSymbol));
  const cuda::Module* found = entry == nullptr ? nullptr : entry();
  if (found == nullptr || found->version != cuda::kDescVersion) {
    log(ETGGML_LOG_WARNING, "%s belongs to another version of this package and is not used; install both alike",
        path.c_str());
    return false;
  }
  module = found;
  static const etggml_cuda_hook hook = {hook_supports, hook_compute};
  set_hook(&hook);
  return true;
}

class ModuleCalls final : public fusion::KernelSupport {
 public:
  explicit ModuleCalls(int device) : device_(device) {}
  bool supports(const cuda::KernelDesc& call) const override { return module->supports(device_, &call); }

 private:
  int device_;
};

/// ggml's "CUDA1" -> 1.
int number_of(const char* name) {
  while (*name != '\0' && (*name < '0' || *name > '9')) ++name;
  return *name == '\0' ? -1 : std::atoi(name);
}

}  // namespace

void note_failed_call(const char* kernel, const char* node) {
  if (failed_call.empty()) failed_call = std::string(kernel) + " (" + node + ")";
}

std::string take_failed_call() { return std::exchange(failed_call, std::string()); }

bool take_launched() { return std::exchange(launched, false); }

const fusion::KernelSupport* calls_of(const devices::Device& device) {
  if (env_string("EXECUTORCH_GGML_KERNELS") == "none" || env_flag("GGML_CUDA_DISABLE_FUSION")) return nullptr;
  if (device.is_cpu()) {
    static const fusion::HostFallback host;
    return env_string("EXECUTORCH_GGML_FORMS").rfind("cuda", 0) == 0 ? &host : nullptr;
  }
  if (device.name.rfind("cuda", 0) != 0) return nullptr;
  static std::once_flag once;
  static bool loaded = false;
  std::call_once(once, [&] { loaded = load_module(device.handle); });
  const int number = number_of(ggml_backend_dev_name(device.handle));
  if (!loaded || number < 0) return nullptr;
  static auto* mutex = new ProcessMutex(60);
  static auto* calls = new std::map<int, std::unique_ptr<ModuleCalls>>();
  std::lock_guard<ProcessMutex> guard(*mutex);
  std::unique_ptr<ModuleCalls>& entry = (*calls)[number];
  if (entry == nullptr) entry = std::make_unique<ModuleCalls>(number);
  return entry.get();
}

}  // namespace etggml::engine
