// Makes additions behind convolutions (residual blocks), and the clamp behind those, part of the convolution. The
// result of the convolution is still in registers. A pass of its own would read the memory of three images.
#pragma once

#include "graph/build.h"

namespace etggml::fusion {

/// Rewrites a finished graph for the CPU in which our convolutions stand; the results keep every bit.
void fold_additions(graph::Built& built);

}  // namespace etggml::fusion
