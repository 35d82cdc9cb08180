// Preconditions that ggml's GPU backends, ggml-cuda above all, assert or silently assume beyond their supports_op.
#pragma once

#include "ggml.h"

namespace etggml::device_rules {

/// Whether the kernel of this node takes its sources. Asked besides the backend's own supports_op: a node that breaks
/// one of these rules ends the process or gives wrong numbers.
bool gpu_kernel_takes(const ggml_tensor* node);

}  // namespace etggml::device_rules
