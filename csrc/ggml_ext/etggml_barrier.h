// How ggml's CPU threads wait for each other: spin briefly, then sleep. Included by ggml-cpu.c (see
// third-party/patches/ggml-cpu-barrier.patch) right before ggml_barrier().
//
// ggml's own barrier spins without limit. That is a disaster on a machine with more runnable threads than cores. The
// spinner uses up the time slice of the thread it waits for, and a token takes seconds. Spinning for a few dozen
// microseconds still catches nearly every barrier of an idle machine, where the threads arrive together.
#pragma once

#include <stdint.h>
#include <time.h>

#if defined(__linux__)
#include <limits.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

// Longer than the spread of arrivals on an idle machine, about the cost of the sleep and wake-up it saves (M: 5-40 us).
#define ETGGML_BARRIER_SPIN_NS 40000

// Reading the clock costs as much as a pause or two, so it is read once per this many pauses.
#define ETGGML_BARRIER_PAUSES_PER_CLOCK 16

// One unit of ggml_threadpool_params.poll (0..100), the wait for the next graph, in pauses: about 40 us, so the whole
// range is 0 to 4 ms. Upstream's unit is 128 times longer, which keeps idle sessions busy for seconds.
#define ETGGML_POLL_ROUNDS 1024UL

static inline int64_t etggml_clock_ns(void) {
#if defined(_WIN32)
  LARGE_INTEGER ticks, frequency;
  QueryPerformanceCounter(&ticks);
  QueryPerformanceFrequency(&frequency);
  return (int64_t)((double)ticks.QuadPart * 1e9 / (double)frequency.QuadPart);
#else
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
#endif
}

// Returns once *passed differs from `seen`. The order is sequentially consistent: a sleeper announces itself in
// *sleeping and then looks at *passed. The kernel looks again, under its lock. The releasing thread changes *passed and
// then looks at *sleeping. In every interleaving one of them sees the other, so no wake-up is lost.
static inline void etggml_barrier_wait(atomic_int* passed, atomic_int* sleeping, int seen) {
  int64_t deadline = 0;
  for (;;) {
    for (int i = 0; i < ETGGML_BARRIER_PAUSES_PER_CLOCK; ++i) {
      if (atomic_load_explicit(passed, memory_order_relaxed) != seen) {
        return;  // the caller has the full fence
      }
      ggml_thread_cpu_relax();
    }
    const int64_t now = etggml_clock_ns();
    if (deadline == 0) {
      deadline = now + ETGGML_BARRIER_SPIN_NS;
    } else if (now >= deadline) {  // also true after being preempted: then the machine is busy and sleeping is right
      break;
    }
  }
  atomic_fetch_add_explicit(sleeping, 1, memory_order_seq_cst);
  while (atomic_load_explicit(passed, memory_order_seq_cst) == seen) {
#if defined(__linux__)
    syscall(SYS_futex, passed, FUTEX_WAIT_PRIVATE, seen, NULL, NULL, 0);
#else
    sched_yield();
#endif
  }
  atomic_fetch_add_explicit(sleeping, -1, memory_order_seq_cst);
}

// Called by the last thread to arrive, after it has changed *passed. A system call only when somebody sleeps.
static inline void etggml_barrier_wake(atomic_int* passed, atomic_int* sleeping) {
#if defined(__linux__)
  if (atomic_load_explicit(sleeping, memory_order_seq_cst) > 0) {
    syscall(SYS_futex, passed, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
  }
#else
  (void)passed;
  (void)sleeping;
#endif
}
