// GGUF files for the whole process: a .pte without weights finds them under a stock ExecuTorch runtime. Its loaders
// cannot take a GGUF.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "gguf/file_set.h"
#include "util/status.h"

namespace etggml::weights {

/// Files of the environment variable EXECUTORCH_GGML_WEIGHTS (separated by ':') and of add_process_weights(), opened
/// once.
Result<std::vector<std::shared_ptr<const gguf::FileSet>>> process_weights();

/// Adds a file to the process-wide list (backend option "weights"). Opened at once: ETGGML_IO / ETGGML_FORMAT.
Status add_process_weights(const std::string& path);

}  // namespace etggml::weights
