#include "kernels/attention_tile.h"

#include "kernels/attention_block.h"
#include "util/cpu.h"

namespace etggml::graph {

AttentionTileFunctions attention_tile_functions() {
  if (cpu_has_avx512()) {
    if (const AttentionTileFunctions functions = attention_tile_avx512(); functions.f16) return functions;
  }
  return cpu_has_avx2() ? attention_tile_avx2() : AttentionTileFunctions();
}

AttentionBlockFunctions attention_block_functions() {
  if (cpu_has_avx512()) {
    if (const AttentionBlockFunctions functions = attention_block_avx512(); functions.multiply) return functions;
  }
  return cpu_has_avx2() ? attention_block_avx2() : AttentionBlockFunctions();
}

}  // namespace etggml::graph
