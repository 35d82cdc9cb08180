#include "kernels/softmax.h"

#ifdef ETGGML_BUILD_AVX2
#include "kernels/simd_avx2.h"
// after the registers
#include "kernels/softmax_simd.h"
#endif

namespace etggml::graph {

SoftMaxRow soft_max_row_avx2() {
#ifdef ETGGML_BUILD_AVX2
  return softmax_row;
#else
  return nullptr;
#endif
}

}  // namespace etggml::graph
