// The boundary: Status and exceptions become a code and the calling thread's last message.
#pragma once

#include <string>

#include "executorch_ggml.h"
#include "util/caught.h"
#include "util/status.h"

namespace etggml::capi {

/// Stores the message for etggml_last_error (an OK status leaves it alone) and returns the code.
etggml_status finish(const Status& status);

/// Runs a body that returns Status; nothing it throws gets out.
template <class Fn>
etggml_status guard(Fn body) {
  return finish(caught(body));
}

/// *out = a copy that etggml_string_free releases. ETGGML_OUT_OF_MEMORY.
Status copy_out(const std::string& text, char** out);

/// "<name> is NULL".
inline Status null_pointer(const char* name) { return error(ETGGML_INVALID_ARGUMENT, "%s is NULL", name); }

}  // namespace etggml::capi
