// The devices ggml offers: its backend modules are loaded once, from this library's own directory and, for devices
// other than the CPU, from plug-ins (plugin/plugins.h).
#pragma once

#include <string>
#include <vector>

#include "ggml-backend.h"
#include "util/status.h"

namespace etggml::devices {

struct Device {
  ggml_backend_dev_t handle = nullptr;  ///< null for a plug-in that cannot be used
  std::string name;                     ///< how options name it: "cpu", "cuda:0", "metal", "vulkan:1", "blas"
  std::string description;              ///< the name that the hardware gives itself
  std::string type;                     ///< cpu | gpu | igpu | accel
  size_t memory_free = 0;               ///< bytes
  size_t memory_total = 0;              ///< bytes
  bool usable = true;                   ///< a graph can run on it alone
  std::string reason;                   ///< why not

  bool is_cpu() const { return type == "cpu"; }
};

/// Loads the modules of our own directory on the first call. ETGGML_DEVICE when not even a CPU module is there (a
/// broken installation: names the directory searched).
Status load_backends();

/// Every device, modules and plug-ins loaded; memory figures are current. A plug-in that cannot be used is a device
/// that says why.
Result<std::vector<Device>> list_devices();

/// `name`: "" (the environment's GGML_BACKEND_DEVICE, else "cpu"), "cpu", "cuda" (the first one), "cuda:1",
/// case-insensitive, or ggml's own name ("CUDA0"). ETGGML_DEVICE for one that is missing or unusable, with the reason
/// or the package to install, and the names of those that exist. The CPU is selected without loading any plug-in.
Result<Device> select_device(const std::string& name);

/// A function the device's backend publishes by name (ggml_backend_reg_get_proc_address), nullptr if it has none.
void* backend_function(ggml_backend_dev_t device, const char* name);
template <class Fn>
Fn backend_function(ggml_backend_dev_t device, const char* name) {
  return reinterpret_cast<Fn>(backend_function(device, name));
}

/// A symbol of the CPU module that ggml does not publish by name (ggml_get_type_traits_cpu), nullptr if it cannot be
/// found.
void* cpu_module_symbol(const char* name);

}  // namespace etggml::devices
