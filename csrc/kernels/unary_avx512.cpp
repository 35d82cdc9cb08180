#include "kernels/unary.h"

#ifdef ETGGML_BUILD_AVX512
#include "kernels/simd_avx512.h"
// after the registers
#include "kernels/unary_simd.h"
#endif

namespace etggml::graph {

UnaryFunctions unary_avx512() {
#ifdef ETGGML_BUILD_AVX512
  return {tanh_of, sigmoid_of};
#else
  return {};
#endif
}

}  // namespace etggml::graph
