// The mask of causal attention from positions, where they are: on the device.
#include <cuda_fp16.h>

#include "kernels.cuh"

namespace etggml::cuda {
namespace {

__global__ void causal_mask_kernel(const int32_t* positions, __half* mask, int64_t n_kv, int64_t window,
                                   bool overlaps_next) {
  allow_next(overlaps_next);
  wait_previous();
  const int64_t j = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x,
                position = __ldcg(positions + blockIdx.y);
  if (j >= n_kv) return;
  const bool visible = j <= position && (window == 0 || position - j < window);
  mask[blockIdx.y * n_kv + j] = __ushort_as_half(visible ? 0 : 0xfc00);
}

}  // namespace

bool launch_causal_mask(int device, cudaStream_t stream, const CausalMaskDesc& c) {
  constexpr int kBlock = 256;
  return launch(device, stream, dim3(static_cast<unsigned>((c.n_kv + kBlock - 1) / kBlock), c.tokens), dim3(kBlock), 0,
                causal_mask_kernel, static_cast<const int32_t*>(c.positions->data), static_cast<__half*>(c.out->data),
                c.n_kv, c.window, c.overlaps_next);
}

}  // namespace etggml::cuda
