#include "kernels/attention_block.h"

#ifdef ETGGML_BUILD_AVX2
#include "kernels/simd_avx2.h"
// after the registers
#include "kernels/attention_block_simd.h"
#endif

namespace etggml::graph {

AttentionBlockFunctions attention_block_avx2() {
#ifdef ETGGML_BUILD_AVX2
  return {convert<Half>, convert<Single>, multiply};
#else
  return {};
#endif
}

}  // namespace etggml::graph
