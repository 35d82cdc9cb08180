// ExecuTorch reads a .ptd without verifying it.
#pragma once

#include <cstddef>
#include <string>

#include "util/status.h"

namespace etggml::program {

/// data: a whole .ptd. Header, tables, keys and the place of every piece of data are checked. ETGGML_FORMAT otherwise.
Status check_ptd(const void* data, size_t size, const std::string& path);

}  // namespace etggml::program
