#include "kernels/attention_tile.h"

#ifdef ETGGML_BUILD_AVX2
#include "kernels/simd_avx2.h"
// after the registers
#include "kernels/attention_tile_simd.h"
#endif

namespace etggml::graph {

AttentionTileFunctions attention_tile_avx2() {
#ifdef ETGGML_BUILD_AVX2
  return {tile<Half>, tile<Single>};
#else
  return {};
#endif
}

}  // namespace etggml::graph
