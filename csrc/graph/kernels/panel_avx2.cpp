#include "graph/kernels/panel.h"

#ifdef ETGGML_BUILD_AVX2
#include "graph/kernels/simd_avx2.h"
// after the registers
#include "graph/kernels/panel_simd.h"
#include "graph/kernels/pixel_pieces_simd.h"
#endif

namespace etggml::graph {

PanelFunctions panel_avx2() {
#ifdef ETGGML_BUILD_AVX2
  PanelFunctions f;
  f.lanes = Simd::kWidth;
  f.multiply = multiply;
  f.pack_rows = pack_rows;
  f.pack_pixels = pack_pixels;
  f.copy_pixels = copy_pixels;
  f.make_masks = make_masks;
  f.mask_bytes = sizeof(Simd::Mask);
  f.finish = finish;
  f.widen_f16 = widen_f16;
  f.widen_bf16 = widen_bf16;
  return f;
#else
  return {};
#endif
}

}  // namespace etggml::graph
