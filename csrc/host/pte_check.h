// What ExecuTorch's own verification of a .pte leaves out and then dereferences.
#pragma once

#include <cstddef>
#include <string>

#include "util/status.h"

namespace etggml::host {

/// data: the beginning of a .pte whose FlatBuffer ExecuTorch has verified (offsets are in bounds, fields may be
/// missing). Every delegate must have its id, data reference and compile specs, because ExecuTorch 1.5 reads them
/// without asking. ETGGML_FORMAT otherwise.
Status check_delegates(const void* data, const std::string& path);

}  // namespace etggml::host
