// The etggml_program handle, for the other parts of the C ABI.
#pragma once

#include <memory>

#include "executorch_ggml.h"
#include "program/program.h"

struct etggml_program {
  std::unique_ptr<etggml::program::Program> impl;
};
