// An engine computes: one ggml backend on one device, with its persistent thread pool, cancellation and scratch arena.
// A program owns one; delegates under a stock ExecuTorch runtime share one per (device, threads) of the process.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <string>

#include "devices/devices.h"
#include "ggml-alloc.h"
#include "ggml-backend.h"
#include "util/fork.h"
#include "util/status.h"
#include "util/stop.h"

namespace etggml::engine {

/// Scratch memory that the plans of one engine share: only one runs at a time, so they need the largest of their sizes
/// and not the sum. When it has to grow, the tensors of other plans in it dangle: `generation` tells them.
class Arena {
 public:
  static Result<std::unique_ptr<Arena>> create(ggml_backend_buffer_type_t type);
  ~Arena();
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  /// Gives every tensor of the graph that has no memory yet an address. ETGGML_OUT_OF_MEMORY names the size needed.
  Status place(ggml_cgraph* graph);
  uint64_t generation() const { return generation_; }
  size_t bytes() const;

 private:
  Arena() = default;
  ggml_gallocr_t allocator_ = nullptr;
  size_t bytes_ = 0;
  uint64_t generation_ = 0;
};

class Engine {
 public:
  /// device: as select_device(). threads: 0 = default_threads(). Devices other than the CPU ignore threads.
  static Result<std::shared_ptr<Engine>> create(const std::string& device, int threads);
  /// The process-wide engine of this configuration; lives as long as somebody holds it.
  static Result<std::shared_ptr<Engine>> shared(const std::string& device, int threads);
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  const devices::Device& device() const { return device_; }
  bool is_cpu() const { return device_.is_cpu(); }
  int threads() const { return threads_; }
  ggml_backend_t backend() const { return backend_; }
  ggml_backend_buffer_type_t buffer_type() const;
  Arena& arena() { return *arena_; }

  /// Held while a plan is placed or computed: neither backend nor arena may be used by two threads at once. Before the
  /// first time in a call, survive_fork().
  std::mutex& mutex() { return mutex_; }

  /// In a child of fork() the pool's threads are started anew. ETGGML_DEVICE when the engine cannot be used there: it
  /// drives a GPU, or was computing in a thread that the child does not have. ETGGML_OUT_OF_MEMORY without threads.
  Status survive_fork() { return forks_.load(std::memory_order_acquire) == forks() ? ok_status() : wake(); }
  /// Whether this process cannot free the memory of the engine.
  bool lost();

  /// Ends computations on the CPU early: between two nodes, in ggml's kernels, and in those of ours that know of it
  /// (graph/kernels/stopping.h).
  Stop& stop() { return stop_; }

  /// Runs a graph. All its tensors must have memory. `plan`: a ggml graph plan, or nullptr. ETGGML_CANCELLED,
  /// ETGGML_OUT_OF_MEMORY, ETGGML_DEVICE (and ever after, once a kernel of ours could not be launched).
  Status compute(ggml_cgraph* graph, ggml_backend_graph_plan_t plan);
  /// The same, but on a device it may only have begun: results are there after wait(). Copies of the backend that are
  /// asked for in between (ggml_backend_tensor_*_async) take place in order.
  Status start(ggml_cgraph* graph, ggml_backend_graph_plan_t plan);
  void wait() { ggml_backend_synchronize(backend_); }
  /// A ggml graph plan (thread schedule and work memory kept between computes), nullptr where the backend has none.
  ggml_backend_graph_plan_t make_plan(ggml_cgraph* graph);
  void free_plan(ggml_backend_graph_plan_t plan);

 private:
  Engine() = default;
  Status init(const std::string& device, int threads);
  Status broken() const;
  Status wake();
  Status touch_threads();

  devices::Device device_;
  int threads_ = 1;
  ggml_backend_t backend_ = nullptr;
  ggml_threadpool_t pool_ = nullptr;
  void (*free_pool_)(ggml_threadpool_t) = nullptr;
  std::unique_ptr<Arena> arena_;
  std::string failed_call_;  // a kernel of ours that could not be launched, and its node
  Stop stop_;
  std::atomic<uint64_t> forks_{forks()};
  std::mutex mutex_;
};

}  // namespace etggml::engine
