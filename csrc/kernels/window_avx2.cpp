#include "kernels/window.h"

#ifdef ETGGML_BUILD_AVX2
#include "kernels/simd_avx2.h"
// after the registers
#include "kernels/window_simd.h"
#endif

namespace etggml::graph {

WindowFunctions window_avx2() {
#ifdef ETGGML_BUILD_AVX2
  return {convolve, max_pool, mean_pool};
#else
  return {};
#endif
}

}  // namespace etggml::graph
