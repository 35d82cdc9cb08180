#include "kernels/recurrence.h"

#ifdef ETGGML_BUILD_AVX2
#include "kernels/simd_avx2.h"
// after the registers
#include "kernels/recurrence_simd.h"
#endif

namespace etggml::graph {

RecurrenceFunctions recurrence_avx2() {
#ifdef ETGGML_BUILD_AVX2
  return recurrence_of_this_width();
#else
  return {};
#endif
}

}  // namespace etggml::graph
