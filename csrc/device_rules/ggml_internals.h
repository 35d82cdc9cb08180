// Internals of ggml that a rewritten graph needs: the list of nodes, a graph's number, the head of a custom node's
// parameters. ggml's header is full of static functions.
#pragma once

#if defined(__GNUC__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-function"
#endif
#include "ggml-impl.h"  // IWYU pragma: export
#if defined(__GNUC__)
#pragma GCC diagnostic pop
#endif
