#include "util/interrupt.h"

#include <time.h>

#include <algorithm>
#include <atomic>

#if defined(__APPLE__)
#include <pthread.h>
#elif defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace etggml {
namespace {

constexpr int64_t kAsk = 50000000;  // ns
// Pieces of work may suddenly take some 10 ms, so a call must not be deaf for many.
constexpr int kMostPieces = 8;

struct Host {
  std::atomic<etggml_interrupt_fn> fn{nullptr};
  std::atomic<const volatile bool*> stop{nullptr};
  std::atomic<void*> user{nullptr};
};

Host& host() {
  static Host* instance = new Host();  // calls may run while static destructors do
  return *instance;
}

int64_t now() {
  timespec t;
#if defined(CLOCK_MONOTONIC_COARSE)
  clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
#else
  clock_gettime(CLOCK_MONOTONIC, &t);
#endif
  return int64_t{t.tv_sec} * 1000000000 + t.tv_nsec;
}

// Signals are the main thread's business in the hosts that want this.
bool on_main_thread() {
#if defined(__APPLE__)
  return pthread_main_np() != 0;
#elif defined(__linux__)
  return syscall(SYS_gettid) == getpid();
#else
  return true;
#endif
}

}  // namespace

void set_interrupt(etggml_interrupt_fn fn, const volatile bool* stop, void* user) {
  Host& h = host();
  h.fn.store(nullptr);
  h.stop.store(stop);
  h.user.store(user);
  h.fn.store(fn);
}

InterruptClock::InterruptClock() : asked_(now()) {}

bool InterruptClock::look() {
  Host& h = host();
  const etggml_interrupt_fn fn = h.fn.load(std::memory_order_acquire);
  skip_ = kMostPieces;
  if (fn == nullptr) return false;
  const int64_t time = now();
  stride_ = time == looked_ ? std::min(2 * stride_, kMostPieces) : 1;  // the clock goes on every few milliseconds
  skip_ = stride_;
  looked_ = time;
  if (time - asked_ < kAsk) return false;
  asked_ = time;
  if (!on_main_thread()) return false;
  fn(h.user.load(std::memory_order_relaxed));
  const volatile bool* stop = h.stop.load(std::memory_order_relaxed);
  return stop != nullptr && *stop;
}

}  // namespace etggml
