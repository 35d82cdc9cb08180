#include "devices/plugin/search.h"

#include <executorch/runtime/backend/interface.h>
#include <unistd.h>

#include <algorithm>

#include "util/env.h"
#include "util/log.h"
#include "util/paths.h"

namespace etggml::devices {
namespace {

// The plug-ins there are. Their manifests are called ggml-<name>.json, their packages executorch_ggml_<name>.
constexpr const char* kPlugins[] = {"cuda", "vulkan", "rpc"};

bool exists(const std::string& path) { return access(path.c_str(), R_OK) == 0; }

void add(std::vector<std::string>* list, const std::string& entry) {
  if (std::find(list->begin(), list->end(), entry) == list->end()) list->push_back(entry);
}

/// Adds the manifests in `directory`; false when there is none.
bool add_manifests(const std::string& directory, std::vector<std::string>* list) {
  bool found = false;
  for (const char* plugin : kPlugins) {
    const std::string path = directory + "/ggml-" + plugin + ".json";
    if (!exists(path)) continue;
    add(list, path);
    found = true;
  }
  return found;
}

std::vector<std::string> split(const std::string& text, char separator) {
  std::vector<std::string> parts;
  for (size_t start = 0; start <= text.size();) {
    const size_t end = std::min(text.find(separator, start), text.size());
    if (end > start) parts.push_back(text.substr(start, end - start));
    start = end + 1;
  }
  return parts;
}

}  // namespace

std::vector<std::string> package_directories() {
  std::vector<std::string> list;
  // <packages>/executorch_ggml/lib and <packages>/executorch/lib.
  if (!library_directory().empty()) add(&list, parent_directory(parent_directory(library_directory())));
  const void* theirs = reinterpret_cast<const void*>(&executorch::runtime::get_num_registered_backends);
  const std::string file = file_of_address(theirs);
  if (!file.empty()) add(&list, parent_directory(parent_directory(parent_directory(file))));
  return list;
}

std::vector<std::string> find_manifests() {
  std::vector<std::string> list;
  for (const std::string& directory : split(env_string("EXECUTORCH_GGML_PLUGINS"), ':')) {
    // People know the package's directory; the files are in one inside it.
    const bool below = add_manifests(directory + "/lib", &list);
    if (!add_manifests(directory, &list) && !below)
      log(ETGGML_LOG_WARNING, "EXECUTORCH_GGML_PLUGINS: there is no plug-in in '%s'", directory.c_str());
  }
  if (!library_directory().empty()) add_manifests(library_directory(), &list);
  for (const std::string& packages : package_directories()) {
    for (const char* plugin : kPlugins) add_manifests(packages + "/executorch_ggml_" + plugin + "/lib", &list);
  }
  return list;
}

std::vector<std::string> find_in_packages(const std::string& file, const std::vector<std::string>& directories,
                                          const std::string& manifest_directory) {
  std::vector<std::string> roots{parent_directory(parent_directory(manifest_directory))};
  for (const std::string& packages : package_directories()) add(&roots, packages);
  std::vector<std::string> found;
  for (const std::string& root : roots) {
    for (const std::string& directory : directories) {
      const std::string path = root + "/" + directory + "/" + file;
      if (exists(path)) add(&found, path);
    }
  }
  return found;
}

}  // namespace etggml::devices
