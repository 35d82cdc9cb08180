#include "delegate/settings.h"

#include <map>
#include <mutex>
#include <utility>
#include <vector>

#include "util/env.h"
#include "util/fork.h"
#include "util/json.h"
#include "weights/process_weights.h"

namespace etggml::delegate {
namespace {

using executorch::runtime::BackendOption;
using executorch::runtime::kMaxOptionValueLength;
using executorch::runtime::Span;

struct Process {
  ProcessMutex mutex{10};
  Json options = Json::object();
  std::map<std::string, std::weak_ptr<engine::Context>> sessions;
};

Process& process() {
  static Process* instance = new Process();
  return *instance;
}

// Adds one option to the JSON that parse_options() understands; `weights` and `session` stay in it for the caller.
Status merge(const BackendOption& option, Json* out) {
  const std::string key(option.key, strnlen(option.key, sizeof option.key));
  if (const bool* b = std::get_if<bool>(&option.value)) {
    (*out)[key] = *b;
  } else if (const int* i = std::get_if<int>(&option.value)) {
    (*out)[key] = *i;
  } else if (const auto* text = std::get_if<std::array<char, kMaxOptionValueLength>>(&option.value)) {
    const size_t length = strnlen(text->data(), text->size());
    if (length + 1 >= text->size()) {
      // ExecuTorch cuts silently; a cut path would name another file.
      return error(ETGGML_INVALID_ARGUMENT, "option '%s' is longer than ExecuTorch's limit of %zu characters",
                   key.c_str(), text->size() - 2);
    }
    (*out)[key] = std::string(text->data(), length);
  }
  return ok_status();
}

// Takes a string member out of the object.
Status extract(Json* object, const char* key, std::string* value) {
  ETGGML_RETURN_IF_ERROR(read_string(*object, key, value));
  object->erase(key);
  return ok_status();
}

Status validate(Json options) {
  std::string weights, session;
  ETGGML_RETURN_IF_ERROR(extract(&options, "weights", &weights));
  ETGGML_RETURN_IF_ERROR(extract(&options, "session", &session));
  return engine::parse_options(to_text(options).c_str()).status();
}

}  // namespace

Status set_process_options(Span<BackendOption> options) {
  Process& p = process();
  std::lock_guard<ProcessMutex> guard(p.mutex);
  Json merged = p.options;
  for (const BackendOption& option : options) ETGGML_RETURN_IF_ERROR(merge(option, &merged));
  ETGGML_RETURN_IF_ERROR(validate(merged));
  std::string weights;
  ETGGML_RETURN_IF_ERROR(extract(&merged, "weights", &weights));
  if (!weights.empty()) ETGGML_RETURN_IF_ERROR(weights::add_process_weights(weights));
  p.options = std::move(merged);
  return ok_status();
}

Result<std::shared_ptr<engine::Context>> stock_context(const executorch::runtime::BackendInitContext& init) {
  Process& p = process();
  ETGGML_ASSIGN_OR_RETURN(Json merged,
                          parse_object(env_string("EXECUTORCH_GGML_OPTIONS").c_str(), "EXECUTORCH_GGML_OPTIONS"));
  {
    std::lock_guard<ProcessMutex> guard(p.mutex);
    merged.update(p.options);
  }
  const auto specs = init.runtime_specs();
  for (size_t i = 0; i < specs.size(); ++i) ETGGML_RETURN_IF_ERROR(merge(specs[i], &merged));
  std::string weights, session;
  ETGGML_RETURN_IF_ERROR(extract(&merged, "weights", &weights));
  ETGGML_RETURN_IF_ERROR(extract(&merged, "session", &session));
  ETGGML_ASSIGN_OR_RETURN(engine::Options options, engine::parse_options(to_text(merged).c_str()));
  std::shared_ptr<const gguf::FileSet> files;
  if (!weights.empty()) {
    ETGGML_ASSIGN_OR_RETURN(files, gguf::FileSet::open(weights));
  }
  if (session.empty()) return engine::Context::create(std::move(options), std::move(files), false);
  std::lock_guard<ProcessMutex> guard(p.mutex);
  if (std::shared_ptr<engine::Context> context = p.sessions[session].lock()) return context;
  ETGGML_ASSIGN_OR_RETURN(std::shared_ptr<engine::Context> context,
                          engine::Context::create(std::move(options), std::move(files), false));
  p.sessions[session] = context;
  return context;
}

}  // namespace etggml::delegate
