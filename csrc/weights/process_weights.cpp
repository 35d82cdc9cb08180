#include "weights/process_weights.h"

#include <algorithm>
#include <map>
#include <mutex>

#include "util/env.h"
#include "util/fork.h"

namespace etggml::weights {
namespace {

struct Registry {
  ProcessMutex mutex{50};
  std::map<std::string, std::shared_ptr<const gguf::FileSet>> open;  // by path as given
  std::vector<std::string> added;
};

Registry& registry() {
  static Registry* instance = new Registry();
  return *instance;
}

Result<std::shared_ptr<const gguf::FileSet>> open_once(Registry& r, const std::string& path) {
  auto it = r.open.find(path);
  // A file replaced since it was opened is opened again: the old mapping keeps the old contents.
  if (it != r.open.end() && it->second->check_unchanged().ok()) return it->second;
  ETGGML_ASSIGN_OR_RETURN(std::shared_ptr<const gguf::FileSet> files, gguf::FileSet::open(path));
  r.open[path] = files;
  return files;
}

}  // namespace

Result<std::vector<std::shared_ptr<const gguf::FileSet>>> process_weights() {
  Registry& r = registry();
  std::lock_guard<ProcessMutex> guard(r.mutex);
  std::vector<std::string> paths = r.added;
  const std::string list = env_string("EXECUTORCH_GGML_WEIGHTS");
  for (size_t at = 0; at < list.size();) {
    const size_t colon = std::min(list.find(':', at), list.size());
    if (colon > at) paths.push_back(list.substr(at, colon - at));
    at = colon + 1;
  }
  std::vector<std::shared_ptr<const gguf::FileSet>> out;
  for (const std::string& path : paths) {
    ETGGML_ASSIGN_OR_RETURN(std::shared_ptr<const gguf::FileSet> files, open_once(r, path));
    out.push_back(std::move(files));
  }
  return out;
}

Status add_process_weights(const std::string& path) {
  Registry& r = registry();
  std::lock_guard<ProcessMutex> guard(r.mutex);
  ETGGML_RETURN_IF_ERROR(open_once(r, path).status());
  for (const std::string& known : r.added) {
    if (known == path) return ok_status();
  }
  r.added.push_back(path);
  return ok_status();
}

}  // namespace etggml::weights
