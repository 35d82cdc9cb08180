#include "kernels/unary.h"

#ifdef ETGGML_BUILD_AVX2
#include "kernels/simd_avx2.h"
// after the registers
#include "kernels/unary_simd.h"
#endif

namespace etggml::graph {

UnaryFunctions unary_avx2() {
#ifdef ETGGML_BUILD_AVX2
  return {tanh_of, sigmoid_of};
#else
  return {};
#endif
}

}  // namespace etggml::graph
