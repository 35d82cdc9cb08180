// ExecuTorch's log: inside our own calls its lines go to our log and the errors among them into our messages; everybody
// else's lines go where they went before.
#pragma once

#include <string>

namespace etggml::program {

/// Puts our emitter in front of the process's current one. Idempotent, thread-safe. Done at the first use of the C ABI
/// and not at load: a host that only uses the registered backend keeps its logging untouched.
void route_executorch_log();

/// Error lines that ExecuTorch logged on this thread since the last call, oldest first, joined; then forgets them.
std::string take_executorch_errors();

}  // namespace etggml::program
