#include "kernels/softmax.h"

#ifdef ETGGML_BUILD_AVX512
#include "kernels/simd_avx512.h"
// after the registers
#include "kernels/softmax_simd.h"
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
