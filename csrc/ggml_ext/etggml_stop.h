// A graph that is ended by its abort callback ends inside its nodes, too: long kernels ask between two pieces of their
// work. Included by ggml-cpu.c and by the files of those kernels (see third-party/patches/ggml-cpu-stop.patch).
#pragma once

#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

struct ggml_compute_params;

// Whether the rest of the node need not be computed. Thread 0 asks the callback, as after every node; the others
// see its answer. A kernel that ends early still meets the others at every barrier that it has.
bool etggml_stopped(const struct ggml_compute_params* params);

#ifdef __cplusplus
}
#endif
