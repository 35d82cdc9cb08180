#include "kernels/panel.h"

#include "util/cpu.h"

namespace etggml::graph {

PanelFunctions panel_functions() {
  if (cpu_has_avx512()) {
    if (const PanelFunctions functions = panel_avx512(); functions.multiply) return functions;
  }
  return cpu_has_avx2() ? panel_avx2() : PanelFunctions();
}

}  // namespace etggml::graph
