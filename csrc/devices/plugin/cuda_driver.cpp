#include "devices/plugin/cuda_driver.h"

#include <dlfcn.h>

#include <cstdlib>

#include "util/status.h"

namespace etggml::devices {
namespace {

// From NVIDIA's cuda.h; its values are fixed.
constexpr int kSuccess = 0;
constexpr int kNoDevice = 100;
constexpr int kCapabilityMajor = 75;
constexpr int kCapabilityMinor = 76;

struct Driver {
  int (*init)(unsigned) = nullptr;
  int (*version)(int*) = nullptr;
  int (*device_count)(int*) = nullptr;
  int (*device)(int*, int) = nullptr;
  int (*attribute)(int*, int, int) = nullptr;
  int (*error_string)(int, const char**) = nullptr;
};

template <class Fn>
bool find(void* library, const char* name, Fn* out) {
  *out = reinterpret_cast<Fn>(dlsym(library, name));
  return *out != nullptr;
}

std::string describe(const Driver& driver, int code) {
  const char* text = nullptr;
  if (driver.error_string(code, &text) == kSuccess && text != nullptr) return format("%s (%d)", text, code);
  return format("error %d", code);
}

}  // namespace

CudaDriver probe_cuda_driver(const std::string& cuda) {
  CudaDriver result;
  // Never closed: the module needs it, and unloading a driver is nothing to try.
  void* library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    const char* why = dlerror();
    result.problem = format("no NVIDIA driver is installed (%s)", why == nullptr ? "libcuda.so.1" : why);
    return result;
  }
  Driver driver;
  if (!find(library, "cuInit", &driver.init) || !find(library, "cuDriverGetVersion", &driver.version) ||
      !find(library, "cuDeviceGetCount", &driver.device_count) || !find(library, "cuDeviceGet", &driver.device) ||
      !find(library, "cuDeviceGetAttribute", &driver.attribute) ||
      !find(library, "cuGetErrorString", &driver.error_string)) {
    result.problem = "libcuda.so.1 is not NVIDIA's driver: it lacks functions that every version has";
    return result;
  }
  int version = 0;
  // Within a major version of CUDA every runtime works with every driver.
  if (driver.version(&version) == kSuccess && version / 1000 < std::atoi(cuda.c_str())) {
    result.problem = format("the NVIDIA driver supports CUDA %d.%d, the plug-in needs CUDA %s: update the driver",
                            version / 1000, version % 1000 / 10, cuda.c_str());
    return result;
  }
  const int code = driver.init(0);
  int count = 0;
  if (code != kSuccess && code != kNoDevice) {
    result.problem = format("the NVIDIA driver does not start: %s", describe(driver, code).c_str());
    return result;
  }
  if (code == kNoDevice || driver.device_count(&count) != kSuccess || count == 0) {
    result.problem = "the NVIDIA driver sees no GPU (is CUDA_VISIBLE_DEVICES set?)";
    return result;
  }
  for (int i = 0; i < count; ++i) {
    int device = 0, major = 0, minor = 0;
    if (driver.device(&device, i) == kSuccess) {
      driver.attribute(&major, kCapabilityMajor, device);
      driver.attribute(&minor, kCapabilityMinor, device);
    }
    result.capabilities.push_back(major * 10 + minor);
  }
  return result;
}

bool architectures_cover(const std::string& architectures, int capability) {
  for (const char* at = architectures.c_str(); *at != '\0';) {
    char* end = nullptr;
    const int architecture = static_cast<int>(std::strtol(at, &end, 10));
    if (end == at) return true;  // "native", "all": made for this machine, or for every one
    const bool exact = *end == 'a';
    const bool family = *end == 'f';
    if (exact || family) ++end;
    const bool ptx_only = std::string(end).rfind("-virtual", 0) == 0;
    const bool has_ptx = ptx_only || *end == '\0' || *end == ';';
    const bool same_major = capability / 10 == architecture / 10;
    // Machine code runs within its major version, PTX on everything newer; "a" and "f" give that up.
    const bool newer = capability >= architecture && (same_major || (has_ptx && !family));
    if (exact ? capability == architecture : newer) return true;
    while (*end != '\0' && *end != ';') ++end;
    at = *end == ';' ? end + 1 : end;
  }
  return false;
}

}  // namespace etggml::devices
