#include "graph/kernels/depthwise.h"

#ifdef ETGGML_BUILD_AVX512
#include "graph/kernels/simd_avx512.h"
// after the registers
#include "graph/kernels/depthwise_simd.h"
#endif

namespace etggml::graph {

DepthwiseFunctions depthwise_avx512() {
#ifdef ETGGML_BUILD_AVX512
  return {depthwise_scratch, depthwise_plane};
#else
  return {};
#endif
}

}  // namespace etggml::graph
