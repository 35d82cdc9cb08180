// Whether a computation that is under way is to end: somebody cancelled it, or the host was interrupted.
#pragma once

#include <atomic>

#include "util/interrupt.h"

namespace etggml {

/// Of one engine, which computes one graph at a time. The thread of the call (thread 0) asks the host; the others see
/// its answer, which stays until begin().
class Stop {
 public:
  /// From any thread: the computation under way ends. Stays until clear(), also for computations that begin later.
  void cancel() { cancelled_.store(true, std::memory_order_relaxed); }
  void clear() { cancelled_.store(false, std::memory_order_relaxed); }

  /// A computation begins.
  void begin() { stopping_.store(false, std::memory_order_relaxed); }
  /// Between two pieces of work, so often that the pieces take a few milliseconds at most. After true the result is
  /// worth nothing, and its rest need not be computed.
  bool asked(int thread) {
    if (stopping_.load(std::memory_order_relaxed)) return true;
    if (!cancelled_.load(std::memory_order_relaxed) && !(thread == 0 && interrupts_.interrupted())) return false;
    stopping_.store(true, std::memory_order_relaxed);
    return true;
  }
  /// Whether asked() has been true since begin().
  bool stopping() const { return stopping_.load(std::memory_order_relaxed); }

 private:
  std::atomic<bool> cancelled_{false}, stopping_{false};  // read by all threads, seldom written
  alignas(64) InterruptClock interrupts_;                 // written by one of them at every look
};

}  // namespace etggml
