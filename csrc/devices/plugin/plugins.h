// GPU backends that come in distributions of their own: found, checked and opened once, when a device other than the
// CPU is first asked for.
#pragma once

#include <string>
#include <vector>

#include "devices/plugin/manifest.h"
#include "ggml-backend.h"

namespace etggml::devices {

struct Plugin {
  Manifest manifest;
  std::string directory;             ///< of the module
  ggml_backend_reg_t reg = nullptr;  ///< null: unusable
  std::string problem;               ///< why it is unusable, and the advice
  std::vector<int> capabilities;     ///< of CUDA devices, in the order of ggml's
};

/// Every plug-in that is installed, one for each backend, loaded on the first call as far as that is possible.
const std::vector<Plugin>& plugins();

/// Why the number-th device of that plug-in cannot be used although the plug-in works; "" when it can.
std::string device_problem(const Plugin& plugin, size_t number);

/// The command that installs the plug-in of a family ("cuda"); "" for a family without a distribution.
std::string plugin_distribution(const std::string& family);

}  // namespace etggml::devices
