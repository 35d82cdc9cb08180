// The version of the interface between a plug-in and this library, beside the versions of the package and of ggml.
// Raise it with every change of the data that crosses between them outside ggml's own interface
// (csrc/ggml_ext/etggml_cuda_hook.h, the tensors of custom ops). CMake reads it too (cmake/Plugin.cmake).
#pragma once

#define ETGGML_PLUGIN_ABI 2
