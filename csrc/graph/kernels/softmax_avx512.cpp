#include "graph/kernels/softmax.h"

#ifdef ETGGML_BUILD_AVX512
#include "graph/kernels/simd_avx512.h"
// after the registers
#include "graph/kernels/softmax_simd.h"
#endif

namespace etggml::graph {

SoftMaxRow soft_max_row_avx512() {
#ifdef ETGGML_BUILD_AVX512
  return softmax_row;
#else
  return nullptr;
#endif
}

}  // namespace etggml::graph
