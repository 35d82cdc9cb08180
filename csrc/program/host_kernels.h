// ExecuTorch's CPU operators, for the nodes that are not delegated.
#pragma once

namespace etggml::program {

/// Makes sure that ATen operators are registered: if nobody has, loads libexecutorch_kernels_optimized from beside the
/// libexecutorch in this process. Registering operators twice aborts the process, so a host that brings its own is left
/// alone. Idempotent; a failure is logged and shows when a method needs an operator.
void ensure_cpu_kernels();

}  // namespace etggml::program
