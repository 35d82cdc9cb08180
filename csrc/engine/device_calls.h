// Kernels of ours for a device that ggml drives: a module beside ggml's own (libetggml-cuda), found and checked once.
#pragma once

#include <string>

#include "devices/devices.h"
#include "fusion/fuse.h"

namespace etggml::engine {

/// Calls that `device` runs; nullptr when it has none (then graphs are ggml's nodes alone). With
/// EXECUTORCH_GGML_FORMS=cuda the CPU runs them too, slowly (read at each call). EXECUTORCH_GGML_KERNELS=none and
/// GGML_CUDA_DISABLE_FUSION=1 switch them off.
const fusion::KernelSupport* calls_of(const devices::Device& device);

/// Kernels of ours that could not be launched since the last question, on this thread: the first one, or "".
std::string take_failed_call();
/// Called by the hook: `kernel` for a node of this name was not launched.
void note_failed_call(const char* kernel, const char* node);
/// Whether a GPU's calls were launched one by one in this thread since it was last asked. A graph that holds calls and
/// ran without that was replayed as a whole (a CUDA graph).
bool take_launched();

}  // namespace etggml::engine
