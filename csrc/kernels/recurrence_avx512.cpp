#include "kernels/recurrence.h"

#ifdef ETGGML_BUILD_AVX512
#include "kernels/simd_avx512.h"
// after the registers
#include "kernels/recurrence_simd.h"
#endif

namespace etggml::graph {

RecurrenceFunctions recurrence_avx512() {
#ifdef ETGGML_BUILD_AVX512
  return recurrence_of_this_width();
#else
  return {};
#endif
}

}  // namespace etggml::graph
