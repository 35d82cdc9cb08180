#include "kernels/window.h"

#ifdef ETGGML_BUILD_AVX512
#include "kernels/simd_avx512.h"
// after the registers
#include "kernels/window_simd.h"
#endif

namespace etggml::graph {

WindowFunctions window_avx512() {
#ifdef ETGGML_BUILD_AVX512
  return {convolve, max_pool, mean_pool};
#else
  return {};
#endif
}

}  // namespace etggml::graph
