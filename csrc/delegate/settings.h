// Options of a delegate under a stock ExecuTorch runtime, where no etggml_program exists to carry them.
#pragma once

#include <executorch/runtime/backend/backend_init_context.h>
#include <executorch/runtime/backend/options.h>
#include <executorch/runtime/core/span.h>

#include <memory>

#include "engine/context.h"

namespace etggml::delegate {

/// From weakest to strongest: defaults, the environment (EXECUTORCH_GGML_OPTIONS: JSON of etggml_program_load;
/// GGML_BACKEND_DEVICE), process-wide backend options (executorch::runtime::set_option("GgmlBackend", ...)), the
/// method's runtime specs. Keys:
///   - device (string), threads (int), cache_type (string), max_plans (int), profile (bool);
///   - weights (string): a GGUF for the whole process;
///   - session (string): delegates that name the same session share states and engine.
Result<std::shared_ptr<engine::Context>> stock_context(const executorch::runtime::BackendInitContext& init);

/// Stores process-wide options. ETGGML_INVALID_ARGUMENT for an unknown key or a wrong type; then none of them is
/// stored.
Status set_process_options(executorch::runtime::Span<executorch::runtime::BackendOption> options);

}  // namespace etggml::delegate
