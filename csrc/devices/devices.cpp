#include "devices/devices.h"

#include <dirent.h>
#include <dlfcn.h>

#include <algorithm>
#include <atomic>
#include <cctype>
#include <cerrno>
#include <map>
#include <mutex>

#include "devices/plugin/plugins.h"
#include "util/env.h"
#include "util/fork.h"
#include "util/log.h"
#include "util/paths.h"

namespace etggml::devices {
namespace {

std::string lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) { return std::tolower(c); });
  return text;
}

const char* type_name(enum ggml_backend_dev_type type) {
  switch (type) {
    case GGML_BACKEND_DEVICE_TYPE_CPU:
      return "cpu";
    case GGML_BACKEND_DEVICE_TYPE_GPU:
      return "gpu";
    case GGML_BACKEND_DEVICE_TYPE_IGPU:
      return "igpu";
    default:
      return "accel";
  }
}

Device describe(ggml_backend_dev_t handle) {
  ggml_backend_dev_props props = {};
  ggml_backend_dev_get_props(handle, &props);
  Device device;
  device.handle = handle;
  device.name = props.name;  // replaced by the option name once the devices of a family have been counted
  device.description = props.description == nullptr ? "" : props.description;
  device.type = type_name(props.type);
  device.memory_free = props.memory_free;
  device.memory_total = props.memory_total;
  if (device.type == "accel") {
    device.usable = false;
    device.reason = "an accelerator runs only some operators; it cannot take a whole graph";
  } else if (props.type == GGML_BACKEND_DEVICE_TYPE_META) {
    device.usable = false;
    device.reason = "tensor-parallel devices are not supported yet";
  }
  return device;
}

/// "cuda" of "cuda:1".
std::string family_of(const std::string& name) { return name.substr(0, name.find(':')); }

/// Problems that only the plug-ins know: devices without code in their modules, and modules that could not be opened.
/// Each is listed as a device of its family that cannot be used.
void add_plugin_problems(std::vector<Device>* devices) {
  for (const Plugin& plugin : plugins()) {
    if (plugin.reg != nullptr) {
      size_t number = 0;
      for (Device& device : *devices) {
        if (ggml_backend_dev_backend_reg(device.handle) != plugin.reg) continue;
        const std::string problem = device_problem(plugin, number++);
        if (problem.empty()) continue;
        device.usable = false;
        device.reason = problem;
      }
    }
  }
  for (const Plugin& plugin : plugins()) {
    if (plugin.problem.empty()) continue;
    Device device;
    device.name = plugin.manifest.backend;
    device.description = plugin.manifest.distribution + " " + plugin.manifest.version;
    device.type = "gpu";
    device.usable = false;
    device.reason = plugin.problem;
    devices->push_back(std::move(device));
  }
}

std::vector<Device> enumerate() {
  std::vector<Device> devices;
  std::map<std::string, int> family_size;
  std::vector<std::string> families;
  for (size_t i = 0; i < ggml_backend_dev_count(); ++i) {
    ggml_backend_dev_t handle = ggml_backend_dev_get(i);
    devices.push_back(describe(handle));
    families.push_back(lower(ggml_backend_reg_name(ggml_backend_dev_backend_reg(handle))));
    family_size[families.back()]++;
  }
  // "cuda:0", "cuda:1" but plain "cpu": a family with members that are numbered by nature (GPUs) always carries the
  // number.
  std::map<std::string, int> next;
  for (size_t i = 0; i < devices.size(); ++i) {
    const int number = next[families[i]]++;
    const bool numbered = devices[i].type == "gpu" || family_size[families[i]] > 1;
    devices[i].name = numbered ? format("%s:%d", families[i].c_str(), number) : families[i];
  }
  add_plugin_problems(&devices);
  return devices;
}

std::string available(const std::vector<Device>& devices) {
  std::string text;
  for (const Device& d : devices) {
    if (!text.empty()) text += ", ";
    text += d.name + (d.usable ? "" : " (unusable: " + d.reason + ")");
  }
  return text.empty() ? "none" : text;
}

bool is_called(const Device& d, const std::string& wanted) {
  if (d.name == wanted || d.name == wanted + ":0") return true;
  // The entry of a plug-in that could not be opened stands for all its devices.
  if (d.handle == nullptr) return d.name == family_of(wanted);
  return lower(ggml_backend_dev_name(d.handle)) == wanted;
}

/// The advice for a device that is missing.
std::string remedy(const std::string& wanted) {
  const std::string distribution = plugin_distribution(family_of(wanted));
  for (const Plugin& plugin : plugins()) {
    if (plugin.manifest.distribution == distribution) return "";
  }
  if (distribution.empty()) return "";
  return format(". %s is not installed; run: pip install 'executorch-ggml[%s]==%s'", distribution.c_str(),
                family_of(wanted).c_str(), EXECUTORCH_GGML_VERSION);
}

Result<Device> select_cpu() {
  ETGGML_RETURN_IF_ERROR(load_backends());
  Device cpu = describe(ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_CPU));
  cpu.name = "cpu";
  return cpu;
}

}  // namespace

namespace {

bool has_cpu() { return ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_CPU) != nullptr; }

// Why no CPU module could be opened, from the loader's own words: ggml tries each and says nothing of the reason.
Status module_failure(const std::string& directory) {
  std::string reason;
  if (DIR* entries = opendir(directory.c_str())) {
    while (const dirent* entry = readdir(entries)) {
      const std::string name = entry->d_name;
      if (name.compare(0, 11, "libggml-cpu") != 0) continue;
      void* module = dlopen((directory + "/" + name).c_str(), RTLD_NOW | RTLD_LOCAL);
      const char* text = module == nullptr ? dlerror() : nullptr;
      if (module != nullptr) dlclose(module);
      if (text != nullptr) reason = text;
    }
    closedir(entries);
  } else if (errno == ENOMEM) {
    return error(ETGGML_OUT_OF_MEMORY, "out of memory while ggml's CPU module was looked for in '%s'",
                 directory.c_str());
  }
  // The loader has no code for it: these are its sentences for mmap and mprotect without memory, and for its own
  // malloc.
  for (const char* sign :
       {"Cannot allocate memory", "cannot map zero-fill pages", "failed to map segment", "out of memory"}) {
    if (reason.find(sign) != std::string::npos)
      return error(ETGGML_OUT_OF_MEMORY, "out of memory while ggml's CPU module was loaded: %s", reason.c_str());
  }
  if (!reason.empty()) reason = " (" + reason + ")";
  return error(ETGGML_DEVICE,
               "no ggml CPU module (libggml-cpu*.so) could be loaded from '%s'%s: the installation is incomplete or "
               "was built for another machine; reinstall executorch-ggml",
               directory.c_str(), reason.c_str());
}

}  // namespace

Status load_backends() {
  // Until it succeeds: memory that was short once may be there the next time.
  static auto* mutex = new ProcessMutex(40);
  static std::atomic<bool> loaded{false};
  if (loaded.load(std::memory_order_acquire)) return ok_status();
  std::lock_guard<ProcessMutex> guard(*mutex);
  if (loaded.load(std::memory_order_relaxed)) return ok_status();
  route_ggml_log();
  const std::string& directory = library_directory();
  // Only our own directory: ggml's default would also search the executable's and the current directory, where
  // another package's modules of another version may lie.
  if (!directory.empty()) ggml_backend_load_all_from_path(directory.c_str());
  // Linked into a program of another directory (a C++ test): beside ggml's own library then.
  const std::string base = parent_directory(file_of_address(reinterpret_cast<const void*>(&ggml_init)));
  if (!has_cpu() && base != directory) ggml_backend_load_all_from_path(base.c_str());
  if (!has_cpu()) return module_failure(directory);
  for (size_t i = 0; i < ggml_backend_reg_count(); ++i) {
    log(ETGGML_LOG_DEBUG, "ggml backend %s", ggml_backend_reg_name(ggml_backend_reg_get(i)));
  }
  loaded.store(true, std::memory_order_release);
  return ok_status();
}

Result<std::vector<Device>> list_devices() {
  ETGGML_RETURN_IF_ERROR(load_backends());
  plugins();  // their devices join ggml's
  return enumerate();
}

Result<Device> select_device(const std::string& name) {
  std::string wanted = name;
  const char* source = "option \"device\"";
  if (wanted.empty()) {
    wanted = env_string("GGML_BACKEND_DEVICE");
    source = "environment variable GGML_BACKEND_DEVICE";
  }
  if (wanted.empty()) wanted = "cpu";
  wanted = lower(wanted);
  // A program on the CPU opens no GPU: that takes time and memory, and a driver may be out of order.
  if (wanted == "cpu") return select_cpu();
  ETGGML_ASSIGN_OR_RETURN(const std::vector<Device> devices, list_devices());
  for (const Device& d : devices) {
    if (!is_called(d, wanted)) continue;
    if (!d.usable) return error(ETGGML_DEVICE, "device '%s' cannot be used: %s", d.name.c_str(), d.reason.c_str());
    return d;
  }
  return error(ETGGML_DEVICE, "%s: there is no device '%s'; available: %s%s", source, wanted.c_str(),
               available(devices).c_str(), remedy(wanted).c_str());
}

void* backend_function(ggml_backend_dev_t device, const char* name) {
  return ggml_backend_reg_get_proc_address(ggml_backend_dev_backend_reg(device), name);
}

void* cpu_module_symbol(const char* name) {
  if (!load_backends().ok()) return nullptr;
  ggml_backend_dev_t cpu = ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_CPU);
  // The module was loaded privately by ggml; a function it published tells which file it is.
  static const std::string* file = new std::string(file_of_address(backend_function(cpu, "ggml_threadpool_new")));
  void* module = file->empty() ? nullptr : dlopen(file->c_str(), RTLD_LAZY | RTLD_LOCAL | RTLD_NOLOAD);
  if (module == nullptr) return nullptr;
  void* symbol = dlsym(module, name);
  dlclose(module);  // ggml holds it
  return symbol;
}

}  // namespace etggml::devices
