// Program options: defaults, every key, and refusals that say what is wrong.
#include <stdlib.h>

#include <string>

#include "check.h"
#include "engine/options.h"
#include "util/json.h"
#include "util/nearest.h"

using namespace etggml;

namespace {

bool refused(const char* json, const std::string& word) {
  const Result<engine::Options> options = engine::parse_options(json);
  return !options.ok() && options.status().code == ETGGML_INVALID_ARGUMENT &&
         options.status().message.find(word) != std::string::npos;
}

void test_defaults() {
  for (const char* json : {static_cast<const char*>(nullptr), "", "{}", "{\"device\": null}"}) {
    const Result<engine::Options> options = engine::parse_options(json);
    CHECK(options.ok());
    if (!options.ok()) continue;
    CHECK(options->threads == 0 && options->cache_type == GGML_TYPE_F16 && options->max_plans == 16);
    CHECK(options->device.empty() && options->methods.empty() && !options->profile && !options->etdump);
  }
}

void test_all_keys() {
  const Result<engine::Options> options = engine::parse_options(
      R"({"device": "cuda:1", "threads": 3, "cache_type": "q8_0", "methods": ["forward", "b"], "data_path": "x.ptd",
          "max_plans": 2, "profile": true, "etdump": true, "skip_output_copy": true})");
  CHECK(options.ok());
  if (!options.ok()) return;
  CHECK(options->device == "cuda:1" && options->threads == 3 && options->cache_type == GGML_TYPE_Q8_0);
  CHECK(options->methods.size() == 2 && options->methods[1] == "b" && options->data_path == "x.ptd");
  CHECK(options->max_plans == 2 && options->profile && options->etdump && options->skip_output_copy);
}

void test_refusals() {
  CHECK(refused("{\"thread\": 1}", "did you mean 'threads'"));
  CHECK(refused("{\"thread\": 1}", "'cache_type'"));  // names those that exist
  CHECK(refused("[1]", "object"));
  CHECK(refused("{\"threads\": ", "JSON"));
  CHECK(refused("{\"threads\": \"2\"}", "threads"));
  CHECK(refused("{\"threads\": 2.5}", "threads"));
  CHECK(refused("{\"threads\": -1}", "-1"));
  CHECK(refused("{\"threads\": 18446744073709551615}", "threads"));
  CHECK(refused("{\"cache_type\": \"q4_K\"}", "q8_0"));  // cannot be written by set_rows on every device: not offered
  CHECK(refused("{\"cache_type\": 8}", "cache_type"));
  CHECK(refused("{\"methods\": \"forward\"}", "array"));
  CHECK(refused("{\"methods\": [1]}", "methods"));
  CHECK(refused("{\"device\": true}", "device"));
}

void test_environment() {
  setenv("GGML_NO_GRAPH_CACHE", "1", 1);
  setenv("GGML_PROFILE", "1", 1);
  Result<engine::Options> options = engine::parse_options("{\"max_plans\": 8}");
  CHECK(options.ok() && options->max_plans == 0 && options->profile);
  setenv("GGML_NO_GRAPH_CACHE", "0", 1);
  setenv("GGML_PROFILE", "", 1);
  options = engine::parse_options("{\"max_plans\": 8}");
  CHECK(options.ok() && options->max_plans == 8 && !options->profile);
}

void test_nearest() {
  const std::vector<std::string> names = {"blk.0.attn_q.weight", "blk.0.attn_k.weight", "output.weight"};
  const std::vector<std::string> found = nearest_names("blk.0.attn_q.wieght", names, 2);
  CHECK(found.size() == 2 && found[0] == "blk.0.attn_q.weight");
  CHECK(nearest_names("zzzz", names, 3).empty());
  CHECK(join_quoted({"a", "b"}) == "'a', 'b'");
}

}  // namespace

int main() {
  for (const char* name : {"GGML_NO_GRAPH_CACHE", "GGML_PROFILE", "GGML_SKIP_OUTPUT_COPY"}) unsetenv(name);
  test_defaults();
  test_all_keys();
  test_refusals();
  test_environment();
  test_nearest();
  return failures() == 0 ? 0 : 1;
}
