// Options of a loaded program, from the JSON of etggml_program_load.
#pragma once

#include <string>
#include <vector>

#include "ggml.h"
#include "util/status.h"

namespace etggml::engine {

struct Options {
  std::string device;                    ///< "" = GGML_BACKEND_DEVICE, else "cpu"
  int threads = 0;                       ///< 0 = default_threads()
  ggml_type cache_type = GGML_TYPE_F16;  ///< type of KvCache states
  std::vector<std::string> methods;      ///< initialised at load; others on first use
  std::string data_path;                 ///< .ptd, "" = none
  size_t max_plans = 16;                 ///< per delegate; 0 = never keep one
  bool profile = false;                  ///< per-op times (also GGML_PROFILE)
  bool etdump = false;                   ///< record an ETDump
  bool skip_output_copy = false;         ///< outputs point into our memory (GGML_SKIP_OUTPUT_COPY)
};

/// Unknown keys, wrong types and values out of range are ETGGML_INVALID_ARGUMENT. Environment variables (GGML_PROFILE,
/// GGML_NO_GRAPH_CACHE, GGML_SKIP_OUTPUT_COPY) apply on top.
Result<Options> parse_options(const char* json);

/// "f16" -> GGML_TYPE_F16, restricted to the types of a KV cache: ggml can store rows of them, and flash attention can
/// read them. ETGGML_INVALID_ARGUMENT naming them.
Result<ggml_type> parse_cache_type(const std::string& name);

}  // namespace etggml::engine
