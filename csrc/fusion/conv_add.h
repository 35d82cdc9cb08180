// Additions behind convolutions (residual blocks), and the clamp behind those, made part of the convolution: its result
// is still in registers, where a pass of its own reads three images' memory.
#pragma once

#include "graph/build.h"

namespace etggml::graph {

/// Rewrites a finished graph for the CPU in which our convolutions stand; the results keep every bit.
void fold_additions(Built& built);

}  // namespace etggml::graph
