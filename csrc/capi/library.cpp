// The library as such: versions, build, log.
#include <executorch/runtime/backend/interface.h>

#include "capi/error.h"
#include "delegate/backend.h"
#include "devices/devices.h"
#include "executorch_ggml.h"
#include "ggml.h"
#include "ir/graph.h"
#include "program/et_log.h"
#include "util/interrupt.h"
#include "util/json.h"
#include "util/log.h"
#include "util/paths.h"

using namespace etggml;        // NOLINT: this file is nothing but the boundary
using namespace etggml::capi;  // NOLINT

#ifndef EXECUTORCH_GGML_VERSION
#define EXECUTORCH_GGML_VERSION "unknown"
#endif
#ifndef EXECUTORCH_GGML_BUILD_TYPE
#define EXECUTORCH_GGML_BUILD_TYPE "unknown"
#endif

namespace {

// Features the loaded CPU module was built for ("AVX2", "LLAMAFILE", ...).
Json cpu_features() {
  Json list = Json::array();
  ggml_backend_dev_t cpu = ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_CPU);
  if (cpu == nullptr) return list;
  auto features = devices::backend_function<ggml_backend_get_features_t>(cpu, "ggml_backend_get_features");
  if (features == nullptr) return list;
  for (const ggml_backend_feature* f = features(ggml_backend_dev_backend_reg(cpu)); f->name != nullptr; ++f)
    list.push_back(f->name);
  return list;
}

std::string compiler() {
#if defined(__clang__)
  return "clang " __clang_version__;
#elif defined(__GNUC__)
  return "gcc " __VERSION__;
#else
  return "unknown";
#endif
}

}  // namespace

uint32_t etggml_abi_version(void) { return ETGGML_ABI_VERSION; }

const char* etggml_version(void) { return EXECUTORCH_GGML_VERSION; }

etggml_status etggml_build_info(char** json) {
  return guard([&]() -> Status {
    if (json == nullptr) return null_pointer("json");
    const Status backends = devices::load_backends();
    const executorch::runtime::Error registered = delegate::registration();
    Json info = {{"version", EXECUTORCH_GGML_VERSION},
                 {"abi_version", ETGGML_ABI_VERSION},
                 {"ir_version", ir::kReaderVersion},
                 {"build_type", EXECUTORCH_GGML_BUILD_TYPE},
                 {"compiler", compiler()},
                 {"ggml_version", ggml_version()},
                 {"ggml_commit", ggml_commit()},
                 {"executorch_library",
                  file_of_address(reinterpret_cast<const void*>(&executorch::runtime::get_num_registered_backends))},
                 {"backend_directory", library_directory()},
                 {"backends_ok", backends.ok()},
                 {"backends_message", backends.message},
                 {"cpu_features", cpu_features()},
                 {"registered", registered == executorch::runtime::Error::Ok},
                 {"registration", executorch::runtime::to_string(registered)}};
    return copy_out(to_text(info), json);
  });
}

void etggml_set_interrupt(etggml_interrupt_fn fn, const volatile bool* stop, void* user) {
  set_interrupt(fn, stop, user);
}

void etggml_set_log(etggml_log_fn fn, void* user) {
  set_log_sink(fn, user);
  (void)guard([]() -> Status {
    route_ggml_log();
    program::route_executorch_log();
    return ok_status();
  });
}
