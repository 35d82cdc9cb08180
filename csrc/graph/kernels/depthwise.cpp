#include "graph/kernels/depthwise.h"

#include "util/cpu.h"

namespace etggml::graph {

DepthwiseFunctions depthwise_functions() {
  if (cpu_has_avx512()) {
    if (const DepthwiseFunctions functions = depthwise_avx512(); functions.plane) return functions;
  }
  return cpu_has_avx2() ? depthwise_avx2() : DepthwiseFunctions();
}

}  // namespace etggml::graph
