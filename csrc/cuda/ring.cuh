// Weights on their way into shared memory, several stages of them. From compute capability 9.0 on one instruction
// copies a run of rows and a barrier counts its bytes; before it, every thread copies pieces of 16 bytes.
#pragma once

#include <cstdint>

#include "copy.cuh"
#include "launch.cuh"

namespace etggml::cuda {

constexpr int kMostStages = 4;

/// Neighbouring bytes that are copied to where they begin in 16 bytes as they do in memory.
struct Run {
  const uint8_t* from;
  uint8_t* to;
  int bytes;
  __device__ int before() const { return static_cast<int>(reinterpret_cast<uintptr_t>(from) & 15); }
};

#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900

struct Ring {
  uint64_t* arrived;  // kMostStages each, shared
  unsigned* readers;  // that have read a stage

  __device__ static uint32_t at(const void* shared) { return static_cast<uint32_t>(__cvta_generic_to_shared(shared)); }

  /// By the first warp, whose requests may follow; others may use the ring behind a barrier of the block.
  __device__ void begin(int stages) const {
    if (threadIdx.x < static_cast<unsigned>(stages)) {
      asm volatile("mbarrier.init.shared::cta.b64 [%0], 1;" ::"r"(at(arrived + threadIdx.x)) : "memory");
      readers[threadIdx.x] = 0;
    }
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
    __syncwarp();
  }
  /// By one warp. An instruction for each run: one for each row costs more than the copy.
  template <int Runs>
  __device__ void request(int stage, const Run (&runs)[Runs]) const {
    if (threadIdx.x % kWarp != 0) return;
    const uint32_t barrier = at(arrived + stage);
    uint32_t total = 0;
#pragma unroll
    for (int i = 0; i < Runs; ++i) total += whole(runs[i]);
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(barrier), "r"(total) : "memory");
#pragma unroll
    for (int i = 0; i < Runs; ++i) {
      if (runs[i].bytes == 0) continue;
      asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"(
                       at(runs[i].to - runs[i].before())),
                   "l"(runs[i].from - runs[i].before()), "r"(whole(runs[i])), "r"(barrier)
                   : "memory");
    }
  }
  static constexpr bool kByOneWarp = true;
  __device__ void request_nothing() const {}
  /// This warp has read a stage. Is it the last one? Then it may ask for the next rows in its place.
  __device__ bool release(int stage, int warps) const {
    __syncwarp();
    unsigned before = 0;
    if (threadIdx.x % kWarp == 0) {
      __threadfence_block();
      before = atomicAdd(readers + stage, 1);
      if (before + 1 == static_cast<unsigned>(warps)) {
        __threadfence_block();
        readers[stage] = 0;
      }
    }
    return __shfl_sync(0xffffffffu, before, 0) + 1 == static_cast<unsigned>(warps);
  }
  /// With what lies before it and behind it in its pieces of 16 bytes.
  __device__ static uint32_t whole(const Run& run) {
    return run.bytes == 0 ? 0 : static_cast<uint32_t>((run.before() + run.bytes + 15) & ~15);
  }
  /// Has the request number `round` to this stage arrived? By all.
  __device__ void wait(int stage, int round, int) const {
    uint32_t done = 0;
    while (done == 0) {
      asm volatile("{\n.reg .pred p;\nmbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2;\nselp.u32 %0, 1, 0, p;\n}\n"
                   : "=r"(done)
                   : "r"(at(arrived + stage)), "r"(static_cast<uint32_t>(round & 1))
                   : "memory");
    }
  }
};

#else

struct Ring {
  uint64_t* arrived;
  unsigned* readers;

  __device__ void begin(int) const {}
  template <int Runs>
  __device__ void request(int, const Run (&runs)[Runs]) const {
#pragma unroll
    for (int i = 0; i < Runs; ++i) {
      const int before = runs[i].before();
      for (int at = static_cast<int>(threadIdx.x) * 16 - before; at < runs[i].bytes;
           at += static_cast<int>(blockDim.x) * 16)
        copy_async<16>(runs[i].to + at, runs[i].from + at);
    }
    commit_copies();
  }
  static constexpr bool kByOneWarp = false;
  /// Groups are counted: every stage has one.
  __device__ void request_nothing() const { commit_copies(); }
  __device__ bool release(int, int) const {
    __syncthreads();
    return true;
  }
  __device__ void wait(int, int, int stages) const {
    if (stages == 1) {
      wait_copies<0>();
    } else if (stages == 2) {
      wait_copies<1>();
    } else if (stages == 3) {
      wait_copies<2>();
    } else {
      wait_copies<kMostStages - 1>();
    }
    __syncthreads();
  }
};

#endif

}  // namespace etggml::cuda
