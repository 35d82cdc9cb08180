// Asynchronous copies from global to shared memory, in groups that complete in order.
#pragma once

#include <cstdint>

namespace etggml::cuda {

/// Bytes: 4, 8 or 16; both addresses aligned to it. Weights are read once a token: 16-byte copies skip the L1 cache.
template <int Bytes>
__device__ __forceinline__ void copy_async(void* shared, const void* global) {
  const uint32_t to = static_cast<uint32_t>(__cvta_generic_to_shared(shared));
  if constexpr (Bytes == 16) {
    asm volatile("cp.async.cg.shared.global.L2::256B [%0], [%1], 16;" ::"r"(to), "l"(global) : "memory");
  } else {
    asm volatile("cp.async.ca.shared.global [%0], [%1], %2;" ::"r"(to), "l"(global), "n"(Bytes) : "memory");
  }
}

__device__ __forceinline__ void commit_copies() { asm volatile("cp.async.commit_group;" ::: "memory"); }

/// All groups but the last `Pending` have arrived (for this thread's copies).
template <int Pending>
__device__ __forceinline__ void wait_copies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(Pending) : "memory");
}

}  // namespace etggml::cuda
