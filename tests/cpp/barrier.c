// The waiting of ggml's CPU threads (csrc/ggml_ext/etggml_barrier.h): nobody leaves early, nobody waits for ever, and a
// thread that waits long does so asleep.
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static inline void ggml_thread_cpu_relax(void) {}  // ggml-cpu.c defines it in front of the header

#include "ggml_ext/etggml_barrier.h"

enum { kThreads = 4, kRounds = 8000 };

static atomic_int n_barrier, n_passed, n_sleeping, failures;
static int arrived[kThreads];  // plain on purpose: the barrier has to order these (ThreadSanitizer checks that it does)

// The frame around the two functions, as in ggml_barrier.
static void barrier(void) {
  int seen = atomic_load_explicit(&n_passed, memory_order_relaxed);
  if (atomic_fetch_add_explicit(&n_barrier, 1, memory_order_seq_cst) == kThreads - 1) {
    atomic_store_explicit(&n_barrier, 0, memory_order_relaxed);
    atomic_fetch_add_explicit(&n_passed, 1, memory_order_seq_cst);
    etggml_barrier_wake(&n_passed, &n_sleeping);
    return;
  }
  etggml_barrier_wait(&n_passed, &n_sleeping, seen);
  atomic_fetch_add_explicit(&n_passed, 0, memory_order_seq_cst);
}

static double seconds(clockid_t clock) {
  struct timespec now;
  clock_gettime(clock, &now);
  return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static void fail(const char* what, int thread, int round) {
  fprintf(stderr, "thread %d, round %d: %s\n", thread, round, what);
  atomic_fetch_add(&failures, 1);
}

static void* run(void* argument) {
  const int me = (int)(long)argument;
  for (int round = 1; round <= kRounds; ++round) {
    // Now and then somebody is late: by less than the spin, by about as much, by more.
    if ((round + me * 7) % 97 == 0) {
      usleep((unsigned)(round % 5) * 20);
    }
    arrived[me] = round;
    barrier();
    for (int other = 0; other < kThreads; ++other) {
      if (arrived[other] != round) {
        fail("left the barrier before everybody had arrived", me, round);
      }
    }
    barrier();
  }
  const double before = seconds(CLOCK_THREAD_CPUTIME_ID);
  if (me == 0) {
    usleep(300000);
  }
  barrier();
  if (seconds(CLOCK_THREAD_CPUTIME_ID) - before > 0.05) {
    fail("waited 0.3 s by burning the processor", me, 0);
  }
  return NULL;
}

int main(void) {
  alarm(120);  // a lost wake-up would be a hang: SIGALRM makes it a failure
  pthread_t threads[kThreads];
  for (long i = 0; i < kThreads; ++i) {
    if (pthread_create(&threads[i], NULL, run, (void*)i) != 0) {
      perror("pthread_create");
      return 1;
    }
  }
  for (int i = 0; i < kThreads; ++i) {
    pthread_join(threads[i], NULL);
  }
  if (atomic_load(&n_sleeping) != 0) {
    fail("somebody is still counted as sleeping", -1, kRounds);
  }
  return atomic_load(&failures) == 0 ? 0 : 1;
}
