// The threads of ggml's CPU pool: started so that a system without threads or memory is an error and no assertion, and
// started again in a process that was forked. Included by ggml-cpu.c (see third-party/patches/ggml-cpu-threads.patch)
// right before ggml_threadpool_new_impl().
#pragma once

#ifndef GGML_USE_OPENMP

// The first use of a thread-local variable allocates those of the whole module, and glibc ends the process when it
// cannot. So every thread uses one when it starts, not in the middle of a graph.
static _Thread_local volatile char etggml_thread_started;

static thread_ret_t etggml_thread_main(void* state) {
  etggml_thread_started = 1;
  return ggml_graph_compute_secondary_thread(state);
}

// Starts threads 1 .. n-1. On failure those that were started are gone again and the answer is false.
static bool etggml_threadpool_spawn(struct ggml_threadpool* pool) {
  for (int j = 1; j < pool->n_threads; ++j) {
    if (ggml_thread_create(&pool->workers[j].thrd, NULL, etggml_thread_main, &pool->workers[j]) == 0) continue;
    ggml_mutex_lock(&pool->mutex);
    pool->stop = true;
    pool->pause = false;
    ggml_cond_broadcast(&pool->cond);
    ggml_mutex_unlock(&pool->mutex);
    while (--j > 0) ggml_thread_join(pool->workers[j].thrd, NULL);
    return false;
  }
  return true;
}

// In a child of fork(): the pool's threads stayed in the parent. No graph may have been running when the process was
// forked. After false the pool has no threads and must not be used; it may be tried again.
GGML_BACKEND_API bool etggml_threadpool_restart(struct ggml_threadpool* pool);
bool etggml_threadpool_restart(struct ggml_threadpool* pool) {
  ggml_mutex_init(&pool->mutex);
  ggml_cond_init(&pool->cond);
  pool->n_graph = 0;
  pool->n_barrier = 0;
  pool->n_barrier_passed = 0;
  pool->n_barrier_sleeping = 0;
  pool->stop = false;
  pool->pause = false;
  for (int j = 0; j < pool->n_threads; ++j) {
    pool->workers[j].last_graph = 0;
    pool->workers[j].pending = false;
  }
  return etggml_threadpool_spawn(pool);
}

// In a child of fork(), for a pool without restarted threads: it can be freed without waiting for them.
GGML_BACKEND_API void etggml_threadpool_forget(struct ggml_threadpool* pool);
void etggml_threadpool_forget(struct ggml_threadpool* pool) {
  ggml_mutex_init(&pool->mutex);
  ggml_cond_init(&pool->cond);
  pool->n_threads = 1;
}

#endif
