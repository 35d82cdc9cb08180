// GgmlBackend, as ExecuTorch knows it.
#pragma once

#include <executorch/runtime/core/error.h>

namespace etggml::delegate {

/// The id in .pte files.
constexpr const char* kBackendId = "GgmlBackend";

/// How registration at load went: Ok, or why this copy is not the one ExecuTorch calls. Never aborts: a second copy of
/// this library in a process leaves the first one in charge.
executorch::runtime::Error registration();

}  // namespace etggml::delegate
