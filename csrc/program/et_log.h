// ExecuTorch's log: inside our own calls its lines go to our log and the errors among them into our messages; everybody
// else's lines go where they went before.
#pragma once

#include <string>

namespace etggml::program {

/// Puts our emitter, and our handler of aborts, in front of the process's current ones. Thread-safe and cheap. Done at
/// every call of the C ABI that enters ExecuTorch: importing `executorch.runtime` puts its own in our place. Not done
/// when the library is loaded, so a host that only uses the registered backend keeps its logging.
void route_executorch_log();

/// Error lines that ExecuTorch logged on this thread since the last call, oldest first, joined; then forgets them.
std::string take_executorch_errors();

}  // namespace etggml::program
