#include "devices/plugin/manifest.h"

#include <fstream>
#include <iterator>

#include "devices/plugin/abi.h"
#include "ggml.h"
#include "util/json.h"

namespace etggml::devices {
namespace {

Status required(const Json& object, const char* key, std::string* out) {
  ETGGML_RETURN_IF_ERROR(read_string(object, key, out));
  return out->empty() ? error(ETGGML_FORMAT, "'%s' is missing", key) : ok_status();
}

Result<NeededLibrary> read_library(const Json& entry) {
  if (!entry.is_object()) return error(ETGGML_FORMAT, "'libraries' must hold objects");
  NeededLibrary library;
  ETGGML_RETURN_IF_ERROR(required(entry, "file", &library.file));
  ETGGML_RETURN_IF_ERROR(required(entry, "install", &library.install));
  const auto directories = entry.find("directories");
  if (directories == entry.end() || !directories->is_array())
    return error(ETGGML_FORMAT, "'directories' of %s must be an array", library.file.c_str());
  for (const Json& directory : *directories) {
    if (!directory.is_string()) return error(ETGGML_FORMAT, "'directories' must hold strings");
    library.directories.push_back(directory.get_ref<const std::string&>());
  }
  return library;
}

Result<Manifest> parse(const std::string& text) {
  ETGGML_ASSIGN_OR_RETURN(const Json object, parse_object(text.c_str(), "manifest"));
  Manifest m;
  ETGGML_RETURN_IF_ERROR(required(object, "backend", &m.backend));
  ETGGML_RETURN_IF_ERROR(required(object, "distribution", &m.distribution));
  ETGGML_RETURN_IF_ERROR(required(object, "version", &m.version));
  ETGGML_RETURN_IF_ERROR(required(object, "ggml", &m.ggml));
  ETGGML_RETURN_IF_ERROR(required(object, "module", &m.module));
  ETGGML_RETURN_IF_ERROR(read_int(object, "abi", 0, INT32_MAX, &m.abi));
  ETGGML_RETURN_IF_ERROR(read_string(object, "cuda", &m.cuda));
  ETGGML_RETURN_IF_ERROR(read_string(object, "architectures", &m.architectures));
  if (m.module.find('/') != std::string::npos) return error(ETGGML_FORMAT, "'module' must lie beside the manifest");
  const auto libraries = object.find("libraries");
  if (libraries == object.end()) return m;
  if (!libraries->is_array()) return error(ETGGML_FORMAT, "'libraries' must be an array");
  for (const Json& entry : *libraries) {
    ETGGML_ASSIGN_OR_RETURN(NeededLibrary library, read_library(entry));
    m.libraries.push_back(std::move(library));
  }
  return m;
}

}  // namespace

Result<Manifest> read_manifest(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  if (!file) return error(ETGGML_IO, "%s cannot be read", path.c_str());
  Result<Manifest> manifest = parse(text);
  if (!manifest.ok()) return error(ETGGML_FORMAT, "%s: %s", path.c_str(), manifest.status().message.c_str());
  return manifest;
}

std::string version_problem(const Manifest& m) {
  const std::string ours = format("%s (%s)", ggml_version(), ggml_commit());
  if (m.version == EXECUTORCH_GGML_VERSION && m.ggml == ours && m.abi == ETGGML_PLUGIN_ABI) return "";
  const std::string what = format(
      "%s %s is made for executorch-ggml %s with ggml %s and plug-in ABI %lld, but this is executorch-ggml %s with "
      "ggml "
      "%s and plug-in ABI %d",
      m.distribution.c_str(), m.version.c_str(), m.version.c_str(), m.ggml.c_str(), static_cast<long long>(m.abi),
      EXECUTORCH_GGML_VERSION, ours.c_str(), ETGGML_PLUGIN_ABI);
  if (m.version != EXECUTORCH_GGML_VERSION) {
    return format("%s; run: pip install '%s==%s'", what.c_str(), m.distribution.c_str(), EXECUTORCH_GGML_VERSION);
  }
  return format("%s; build both from the same sources (pip install . and pip install . -C variant=%s)", what.c_str(),
                m.backend.c_str());
}

}  // namespace etggml::devices
