// The manifest of a plug-in: the needs and the purpose of its module, known without opening the module. A module
// of another ggml would be found out by a crash, and one without its libraries cannot be opened at all.
#pragma once

#include <string>
#include <vector>

#include "util/status.h"

namespace etggml::devices {

/// A library that the module links and that does not come with it.
struct NeededLibrary {
  std::string file;                      ///< its SONAME: "libcudart.so.13"
  std::vector<std::string> directories;  ///< where wheels put it, below site-packages
  std::string install;                   ///< the advice for a missing one
};

struct Manifest {
  std::string backend;        ///< "cuda": the family of its devices
  std::string distribution;   ///< "executorch-ggml-cuda"
  std::string version;        ///< of the distribution, the same as ours
  std::string ggml;           ///< "0.20.0 (4df29be4f)"
  int64_t abi = 0;            ///< ETGGML_PLUGIN_ABI
  std::string module;         ///< file beside the manifest
  std::string cuda;           ///< version of CUDA it was built with, "" for other backends
  std::string architectures;  ///< as CMAKE_CUDA_ARCHITECTURES: "80-real;90-real;100-virtual"
  std::vector<NeededLibrary> libraries;
};

/// ETGGML_IO, or ETGGML_FORMAT naming the file and its fault.
Result<Manifest> read_manifest(const std::string& path);

/// Why a plug-in of this manifest must not be opened by this library, and the package to install; "" when it fits.
std::string version_problem(const Manifest& manifest);

}  // namespace etggml::devices
