#include "kernels/panel.h"

#ifdef ETGGML_BUILD_AVX2
#include "kernels/simd_avx2.h"
// after the registers
#include "kernels/panel_simd.h"
#endif

namespace etggml::graph {

PanelFunctions panel_avx2() {
#ifdef ETGGML_BUILD_AVX2
  return {Simd::kWidth, multiply, pack_rows, pack_pixels, finish, widen_f16, widen_bf16};
#else
  return {};
#endif
}

}  // namespace etggml::graph
