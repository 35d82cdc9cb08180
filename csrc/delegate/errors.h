// Status -> ExecuTorch Error, without losing the message.
#pragma once

#include <executorch/runtime/core/error.h>

#include "util/status.h"

namespace etggml::delegate {

/// Nearest ExecuTorch code.
executorch::runtime::Error to_error(etggml_status code);

/// Keeps the message for the C ABI call that is above us, or logs it through ExecuTorch when there is none; returns the
/// code.
executorch::runtime::Error report(const Status& status);

}  // namespace etggml::delegate
