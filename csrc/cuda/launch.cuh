// Programmatic dependent launch: a kernel may begin while the previous one ends, and then reads its results. It needs
// compute capability 9.0; before it, launches are ordinary and these are no-ops.
#pragma once

#include <cuda_runtime.h>

#include <array>
#include <tuple>
#include <utility>

namespace etggml::cuda {

constexpr int kWarp = 32;

/// The next kernel of the stream may begin as soon as every block has said so (or has ended).
__device__ __forceinline__ void allow_next(bool allowed) {
  if (!allowed) return;
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

/// Waits until all writes of earlier kernels are visible. Before it, only data that no kernel writes (weights, the
/// host's inputs) may be read, and nothing may be written.
__device__ __forceinline__ void wait_previous() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

int compute_capability(int device);  // 90 for 9.0
int multiprocessors(int device);
size_t shared_memory_limit(int device);  // of a block that asks for more than the default

/// `cluster`: blocks (along x) that share their memory, from 9.0 on.
/// `arguments`: the address of each parameter.
inline bool launch_at(int device, cudaStream_t stream, dim3 grid, dim3 block, size_t shared, unsigned cluster,
                      const void* kernel, void** arguments) {
  if (shared > 48 * 1024 && cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                                 static_cast<int>(shared)) != cudaSuccess) {
    cudaGetLastError();
    return false;
  }
  // One division of L1 and shared memory for all our kernels: where neighbours differ, the next one cannot begin before
  // the multiprocessor is empty.
  cudaFuncSetAttribute(kernel, cudaFuncAttributePreferredSharedMemoryCarveout, cudaSharedmemCarveoutMaxShared);
  cudaLaunchConfig_t config = {};
  config.gridDim = grid;
  config.blockDim = block;
  config.dynamicSmemBytes = shared;
  config.stream = stream;
  cudaLaunchAttribute attributes[2] = {};
  attributes[0].id = cudaLaunchAttributeProgrammaticStreamSerialization;
  attributes[0].val.programmaticStreamSerializationAllowed = 1;
  attributes[1].id = cudaLaunchAttributeClusterDimension;
  attributes[1].val.clusterDim = {cluster, 1, 1};
  if (compute_capability(device) >= 90) {
    config.attrs = attributes;
    config.numAttrs = cluster > 1 ? 2 : 1;
  }
  if (cudaLaunchKernelExC(&config, kernel, arguments) == cudaSuccess) return true;
  cudaGetLastError();  // the caller reports it; ggml, which looks at the last error too, would end the process
  return false;
}

template <class... Params, class... Args>
bool launch_clusters(int device, cudaStream_t stream, dim3 grid, dim3 block, size_t shared, unsigned cluster,
                     void (*kernel)(Params...), Args&&... args) {
  std::tuple<Params...> values(std::forward<Args>(args)...);
  auto addresses = std::apply([](auto&... value) { return std::array<void*, sizeof...(Params)>{&value...}; }, values);
  return launch_at(device, stream, grid, block, shared, cluster, reinterpret_cast<const void*>(kernel),
                   addresses.data());
}

template <class... Params, class... Args>
bool launch(int device, cudaStream_t stream, dim3 grid, dim3 block, size_t shared, void (*kernel)(Params...),
            Args&&... args) {
  return launch_clusters(device, stream, grid, block, shared, 1, kernel, std::forward<Args>(args)...);
}

__device__ __forceinline__ float warp_sum(float v) {
#pragma unroll
  for (int offset = 16; offset > 0; offset /= 2) v += __shfl_xor_sync(0xffffffffu, v, offset);
  return v;
}

}  // namespace etggml::cuda
