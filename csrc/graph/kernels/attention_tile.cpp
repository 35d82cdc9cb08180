#include "graph/kernels/attention_tile.h"

#include "util/cpu.h"

namespace etggml::graph {

AttentionTileFunctions attention_tile_functions() {
  if (cpu_has_avx512()) {
    if (const AttentionTileFunctions functions = attention_tile_avx512(); functions.f16) return functions;
  }
  return cpu_has_avx2() ? attention_tile_avx2() : AttentionTileFunctions();
}

}  // namespace etggml::graph
