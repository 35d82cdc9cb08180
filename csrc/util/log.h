// One funnel for every log line: ours, ggml's and ExecuTorch's. Lines go to the function given with etggml_set_log;
// without one they are dropped, because a library has no business writing to its host's stderr.
#pragma once

#include "executorch_ggml.h"

namespace etggml {

/// Replaces the sink (thread-safe). NULL drops everything.
void set_log_sink(etggml_log_fn fn, void* user);

/// True when somebody listens: lets callers skip building expensive messages.
bool log_enabled();

/// One line, printf-style; a trailing newline is removed.
void log(etggml_log_level level, const char* format, ...) __attribute__((format(printf, 2, 3)));

/// A finished line from elsewhere (ggml, ExecuTorch).
void log_line(int level, const char* message);

/// Points ggml's log callback here. Idempotent; called before the first ggml call of any path.
void route_ggml_log();

}  // namespace etggml
