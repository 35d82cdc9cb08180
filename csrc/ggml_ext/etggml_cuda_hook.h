// How GGML_OP_CUSTOM reaches kernels that ggml-cuda does not have: included by the patched ggml-cuda.cu and by nothing
// else of ggml. Our module (csrc/cuda) hands in the two functions once, before any graph runs. Until then, and in a
// process that has only ggml-cuda, the op is unsupported as upstream.
#ifndef ETGGML_CUDA_HOOK_H
#define ETGGML_CUDA_HOOK_H

#ifdef __cplusplus
extern "C" {
#endif

struct ggml_tensor;

typedef struct etggml_cuda_hook {
  // Can `node` run on `device`? Asked before any graph that holds it runs.
  bool (*supports)(int device, const struct ggml_tensor* node);
  // Launches its kernels on `stream` (a cudaStream_t, possibly being captured) of the current device.
  bool (*compute)(int device, void* stream, struct ggml_tensor* node);
} etggml_cuda_hook;

// Published by ggml-cuda's get_proc_address as "etggml_cuda_set_hook".
typedef void (*etggml_cuda_set_hook_fn)(const etggml_cuda_hook* hook);

#ifdef __cplusplus
}
#endif

#ifdef ETGGML_CUDA_HOOK_IMPLEMENTATION
static etggml_cuda_hook etggml_hook = {nullptr, nullptr};

static void etggml_cuda_set_hook(const etggml_cuda_hook* hook) { etggml_hook = *hook; }
#endif

#endif
