// The pipeline of weights into shared memory. Every group of lanes fills its own stages, so it waits for no other
// group. Stages of a whole block cost a microsecond each, at any size.
#pragma once

#include <cstdint>

#include "copy.cuh"
#include "launch.cuh"

namespace etggml::cuda {

constexpr int kMaxStages = 4;

/// A stage holds a piece of a row: some units for each lane. Copies have 16 bytes and start at a multiple of 16. If a
/// piece begins elsewhere, the bytes before it are copied too, and the stage begins with their number.
template <class W, int Lanes>
struct WeightPipeline {
  static constexpr int kCopy = 16;
  /// Of a stage for `units` units: where pieces begin anywhere, a header and 15 bytes before and behind.
  static __host__ __device__ int stage_bytes(int units, bool aligned) {
    const int whole = (W::bytes(units) + kCopy - 1) / kCopy * kCopy;
    return aligned ? whole : whole + 3 * kCopy;
  }

  uint8_t* memory;  // of stage 0
  int apart;        // bytes from a stage to the next
  bool aligned;
  uint64_t* arrived;  // [kMaxStages], shared, of the warp

  /// Source and target of an aligned copy; `bytes` becomes its size.
  __device__ const uint8_t* aligned_copy(const uint8_t* from, uint8_t** to, int* bytes, bool writes) const {
    if (aligned) return from;
    const int before = static_cast<int>(reinterpret_cast<uintptr_t>(from) & (kCopy - 1));
    if (writes) *reinterpret_cast<int*>(*to) = before;
    *to += kCopy;
    *bytes += before;
    return from - before;
  }

#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  // One instruction copies a piece, and a barrier counts its bytes.
  static __device__ uint32_t at(const void* shared) { return static_cast<uint32_t>(__cvta_generic_to_shared(shared)); }

  __device__ void begin(int stages, int lane) const {
    if (lane < stages)
      asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(at(arrived + lane)), "n"(kWarp / Lanes) : "memory");
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
    __syncwarp();
  }
  /// `group_lane`: the lane's place in its group.
  __device__ void request(int stage, const uint8_t* from, int bytes, int group_lane) const {
    if (group_lane != 0) return;
    uint8_t* to = memory + stage * apart;
    from = aligned_copy(from, &to, &bytes, true);
    const uint32_t whole = static_cast<uint32_t>((bytes + kCopy - 1) & ~(kCopy - 1)), barrier = at(arrived + stage);
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(barrier), "r"(whole) : "memory");
    asm volatile(
        "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"(at(to)),
        "l"(from), "r"(whole), "r"(barrier)
        : "memory");
  }
  __device__ void commit() const {}
  /// Waits for request number `round` of this stage. All lanes may read it then.
  __device__ void wait(int stage, int round, int) const {
    uint32_t done = 0;
    while (done == 0) {
      asm volatile("{\n.reg .pred p;\nmbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2;\nselp.u32 %0, 1, 0, p;\n}\n"
                   : "=r"(done)
                   : "r"(at(arrived + stage)), "r"(static_cast<uint32_t>(round & 1))
                   : "memory");
    }
    __syncwarp();
  }
#else
  __device__ void begin(int, int) const {}
  __device__ void request(int stage, const uint8_t* from, int bytes, int group_lane) const {
    uint8_t* to = memory + stage * apart;
    from = aligned_copy(from, &to, &bytes, group_lane == 0);
    for (int at = group_lane * kCopy; at < bytes; at += Lanes * kCopy) copy_async<kCopy>(to + at, from + at);
  }
  /// Groups of copies are counted: every stage has one, even if nothing was left to ask for.
  __device__ void commit() const { commit_copies(); }
  __device__ void wait(int, int, int stages) const {
    if (stages == 2) {
      wait_copies<1>();
    } else if (stages == 3) {
      wait_copies<2>();
    } else {
      wait_copies<kMaxStages - 1>();
    }
    __syncwarp();
  }
#endif
  /// Behind a wait.
  __device__ const uint8_t* piece(int stage) const {
    const uint8_t* at = memory + stage * apart;
    return aligned ? at : at + kCopy + *reinterpret_cast<const int*>(at);
  }
};

}  // namespace etggml::cuda
