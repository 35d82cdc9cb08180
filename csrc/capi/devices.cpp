// Devices and threads.
#include "devices/devices.h"

#include "capi/error.h"
#include "devices/threads.h"
#include "executorch_ggml.h"
#include "util/json.h"

using namespace etggml;        // NOLINT: this file is nothing but the boundary
using namespace etggml::capi;  // NOLINT

etggml_status etggml_devices(char** json) {
  return guard([&]() -> Status {
    if (json == nullptr) return null_pointer("json");
    ETGGML_ASSIGN_OR_RETURN(const std::vector<devices::Device> devices, devices::list_devices());
    Json list = Json::array();
    for (const devices::Device& d : devices) {
      list.push_back({{"name", d.name},
                      {"description", d.description},
                      {"type", d.type},
                      {"memory_free", d.memory_free},
                      {"memory_total", d.memory_total},
                      {"usable", d.usable},
                      {"reason", d.reason}});
    }
    return copy_out(to_text(list), json);
  });
}

int etggml_default_threads(void) {
  int threads = 1;
  (void)guard([&]() -> Status {
    threads = devices::default_threads();
    return ok_status();
  });
  return threads;
}
