// Where plug-ins and the libraries they need lie. Only chosen places: our own directory, the package directories of the
// plug-ins beside it, and those that the environment names. Never the working directory or the executable's.
#pragma once

#include <string>
#include <vector>

namespace etggml::devices {

/// Directories into which pip installs packages: the one this library's package lies in, and the one ExecuTorch's lies
/// in (another one when ours is installed editable).
std::vector<std::string> package_directories();

/// Manifests of plug-ins, in order of preference: EXECUTORCH_GGML_PLUGINS (directories separated by ':'), our own
/// directory, then executorch_ggml_<plug-in>/lib in the package directories. Every file once.
std::vector<std::string> find_manifests();

/// Full paths at which wheels may have put `file`, existing ones only. `manifest_directory` is the plug-in's own.
std::vector<std::string> find_in_packages(const std::string& file, const std::vector<std::string>& directories,
                                          const std::string& manifest_directory);

}  // namespace etggml::devices
