#include "kernels/window.h"

#include "util/cpu.h"

namespace etggml::graph {

WindowFunctions window_functions() {
  if (cpu_has_avx512()) {
    if (const WindowFunctions functions = window_avx512(); functions.convolve) return functions;
  }
  return cpu_has_avx2() ? window_avx2() : WindowFunctions();
}

}  // namespace etggml::graph
