#include "kernels/attention_block.h"

#ifdef ETGGML_BUILD_AVX512
#include "kernels/simd_avx512.h"
// after the registers
#include "kernels/attention_block_simd.h"
#endif

namespace etggml::graph {

AttentionBlockFunctions attention_block_avx512() {
#ifdef ETGGML_BUILD_AVX512
  return {convert<Half>, convert<Single>, multiply};
#else
  return {};
#endif
}

}  // namespace etggml::graph
