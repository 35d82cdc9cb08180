#include "kernels/attention_tile.h"

#ifdef ETGGML_BUILD_AVX512
#include "kernels/simd_avx512.h"
// after the registers
#include "kernels/attention_tile_simd.h"
#endif

namespace etggml::graph {

AttentionTileFunctions attention_tile_avx512() {
#ifdef ETGGML_BUILD_AVX512
  return {tile<Half>, tile<Single>};
#else
  return {};
#endif
}

}  // namespace etggml::graph
