#include "devices/plugin/plugins.h"

#include <dlfcn.h>

#include "devices/plugin/cuda_driver.h"
#include "devices/plugin/search.h"
#include "util/log.h"
#include "util/paths.h"

namespace etggml::devices {
namespace {

std::string loader_error() {
  const char* text = dlerror();
  return text == nullptr ? "the dynamic loader gives no reason" : text;
}

/// Loads the libraries that the module links. Then the loader finds them by name, in any folder of the wheel. Nothing
/// is ever closed. Returns the problem.
std::string load_library(const NeededLibrary& library, const std::string& directory) {
  if (dlopen(library.file.c_str(), RTLD_NOW | RTLD_NOLOAD) != nullptr) return "";  // torch's, say: one copy serves both
  std::string failures;
  for (const std::string& path : find_in_packages(library.file, library.directories, directory)) {
    if (dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL) != nullptr) return "";
    failures += "; " + loader_error();
  }
  if (dlopen(library.file.c_str(), RTLD_NOW | RTLD_LOCAL) != nullptr) return "";  // the system's
  failures = loader_error() + failures;
  return format("%s cannot be loaded (%s); run: %s", library.file.c_str(), failures.c_str(), library.install.c_str());
}

/// Fills in reg and capabilities; returns the problem.
std::string load(Plugin* plugin) {
  const Manifest& m = plugin->manifest;
  std::string problem = version_problem(m);
  if (!problem.empty()) return problem;
  if (!m.cuda.empty()) {
    CudaDriver driver = probe_cuda_driver(m.cuda);
    if (!driver.problem.empty()) return driver.problem;
    plugin->capabilities = std::move(driver.capabilities);
  }
  for (const NeededLibrary& library : m.libraries) {
    problem = load_library(library, plugin->directory);
    if (!problem.empty()) return problem;
  }
  const std::string path = plugin->directory + "/" + m.module;
  // First by ourselves: ggml would only log the loader's reason.
  if (dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL) == nullptr)
    return format("%s cannot be loaded: %s", m.module.c_str(), loader_error().c_str());
  plugin->reg = ggml_backend_load(path.c_str());
  if (plugin->reg == nullptr) return format("%s refused to start", path.c_str());
  if (ggml_backend_reg_dev_count(plugin->reg) == 0) return "it finds no device on this machine";
  return "";
}

const Plugin* find(const std::vector<Plugin>& list, const std::string& backend) {
  for (const Plugin& plugin : list) {
    if (plugin.manifest.backend == backend) return &plugin;
  }
  return nullptr;
}

std::vector<Plugin> load_all() {
  std::vector<Plugin> list;
  for (const std::string& path : find_manifests()) {
    Plugin plugin;
    plugin.directory = parent_directory(path);
    Result<Manifest> manifest = read_manifest(path);
    if (!manifest.ok()) {
      // ".../ggml-cuda.json": the name is all that is known of it.
      const size_t start = path.rfind("ggml-") + 5;
      plugin.manifest.backend = path.substr(start, path.rfind('.') - start);
      plugin.manifest.distribution = plugin_distribution(plugin.manifest.backend);
      plugin.problem = manifest.status().message;
    } else {
      plugin.manifest = manifest.take();
    }
    // The first that is found is the one that was chosen: a second is not a substitute for one that is out of order.
    if (find(list, plugin.manifest.backend) != nullptr) continue;
    if (plugin.problem.empty()) plugin.problem = load(&plugin);
    if (!plugin.problem.empty())
      log(ETGGML_LOG_INFO, "plug-in %s: %s", plugin.manifest.backend.c_str(), plugin.problem.c_str());
    list.push_back(std::move(plugin));
  }
  return list;
}

}  // namespace

const std::vector<Plugin>& plugins() {
  // Never destroyed: threads of a backend may outlive main().
  static const auto* list = new std::vector<Plugin>(load_all());
  return *list;
}

std::string device_problem(const Plugin& plugin, size_t number) {
  if (number >= plugin.capabilities.size()) return "";
  const int capability = plugin.capabilities[number];
  if (architectures_cover(plugin.manifest.architectures, capability)) return "";
  return format("its compute capability is %d.%d, and the plug-in has code for %s", capability / 10, capability % 10,
                plugin.manifest.architectures.c_str());
}

std::string plugin_distribution(const std::string& family) {
  return family == "cuda" || family == "vulkan" || family == "rpc" ? "executorch-ggml-" + family : "";
}

}  // namespace etggml::devices
