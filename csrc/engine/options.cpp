#include "engine/options.h"

#include "devices/threads.h"
#include "util/env.h"
#include "util/json.h"

namespace etggml::engine {
namespace {

// Types with a from_float (SET_ROWS stores them) and a vec_dot / to_float (flash attention reads them) on every
// backend.
constexpr ggml_type kCacheTypes[] = {GGML_TYPE_F16,  GGML_TYPE_F32,  GGML_TYPE_BF16, GGML_TYPE_Q8_0,  GGML_TYPE_Q5_1,
                                     GGML_TYPE_Q5_0, GGML_TYPE_Q4_1, GGML_TYPE_Q4_0, GGML_TYPE_IQ4_NL};

Status read_methods(const Json& object, std::vector<std::string>* out) {
  const auto it = object.find("methods");
  if (it == object.end() || it->is_null()) return ok_status();
  if (!it->is_array()) return error(ETGGML_INVALID_ARGUMENT, "option 'methods' must be an array of method names");
  for (const Json& name : *it) {
    if (!name.is_string())
      return error(ETGGML_INVALID_ARGUMENT, "option 'methods' must hold strings, not %s", to_text(name).c_str());
    out->push_back(name.get<std::string>());
  }
  return ok_status();
}

}  // namespace

Result<ggml_type> parse_cache_type(const std::string& name) {
  std::string known;
  for (ggml_type type : kCacheTypes) {
    if (name == ggml_type_name(type)) return type;
    known += (known.empty() ? "" : ", ") + std::string(ggml_type_name(type));
  }
  return error(ETGGML_INVALID_ARGUMENT, "option 'cache_type': '%s' cannot hold a KV cache; choose one of %s",
               name.c_str(), known.c_str());
}

Result<Options> parse_options(const char* json) {
  ETGGML_ASSIGN_OR_RETURN(const Json object, parse_object(json, "program options"));
  ETGGML_RETURN_IF_ERROR(only_known_keys(
      object,
      {"device", "threads", "cache_type", "methods", "data_path", "max_plans", "profile", "etdump", "skip_output_copy"},
      "program options"));
  Options options;
  int64_t threads = 0;
  int64_t max_plans = static_cast<int64_t>(options.max_plans);
  std::string cache_type = "f16";
  options.skip_output_copy = env_flag("GGML_SKIP_OUTPUT_COPY");
  ETGGML_RETURN_IF_ERROR(read_string(object, "device", &options.device));
  ETGGML_RETURN_IF_ERROR(read_int(object, "threads", 0, devices::kMaxThreads, &threads));
  ETGGML_RETURN_IF_ERROR(read_string(object, "cache_type", &cache_type));
  ETGGML_RETURN_IF_ERROR(read_methods(object, &options.methods));
  ETGGML_RETURN_IF_ERROR(read_string(object, "data_path", &options.data_path));
  ETGGML_RETURN_IF_ERROR(read_int(object, "max_plans", 0, 4096, &max_plans));
  ETGGML_RETURN_IF_ERROR(read_bool(object, "profile", &options.profile));
  ETGGML_RETURN_IF_ERROR(read_bool(object, "etdump", &options.etdump));
  ETGGML_RETURN_IF_ERROR(read_bool(object, "skip_output_copy", &options.skip_output_copy));
  ETGGML_ASSIGN_OR_RETURN(options.cache_type, parse_cache_type(cache_type));
  options.threads = static_cast<int>(threads);
  options.max_plans = env_flag("GGML_NO_GRAPH_CACHE") ? 0 : static_cast<size_t>(max_plans);
  options.profile = options.profile || env_flag("GGML_PROFILE");
  return options;
}

}  // namespace etggml::engine
