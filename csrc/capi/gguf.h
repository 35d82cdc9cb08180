// The etggml_gguf handle, for the other parts of the C ABI (a program keeps `files` alive past the handle).
#pragma once

#include <memory>

#include "executorch_ggml.h"
#include "gguf/file_set.h"

struct etggml_gguf {
  std::shared_ptr<const etggml::gguf::FileSet> files;
};
