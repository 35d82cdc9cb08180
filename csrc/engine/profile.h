// Where the time goes: phases of every call, and ggml ops when per-op profiling is on.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>

#include "util/json.h"

namespace etggml::engine {

/// Monotonic nanoseconds.
inline int64_t now_ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

enum class Phase { Bind, Plan, Fill, Compute, Output };
constexpr size_t kPhases = 5;
const char* phase_name(Phase phase);

/// Nanoseconds of one call of one delegate.
struct CallTimes {
  std::array<int64_t, kPhases> phase{};
  int64_t& operator[](Phase p) { return phase[static_cast<size_t>(p)]; }
  int64_t total() const;
};

/// Adds the time from construction to destruction to a counter.
class Stopwatch {
 public:
  explicit Stopwatch(int64_t* counter) : counter_(counter), start_(now_ns()) {}
  ~Stopwatch() { *counter_ += now_ns() - start_; }
  Stopwatch(const Stopwatch&) = delete;
  Stopwatch& operator=(const Stopwatch&) = delete;

 private:
  int64_t* counter_;
  int64_t start_;
};

/// Sums over a program's calls. Thread-safe: statistics may be read while a call runs.
class Profile {
 public:
  void add_call(const CallTimes& times, bool plan_hit);
  /// A graph with calls of ours ran on a GPU: replayed as a whole, or launched node by node.
  void add_device_run(bool replayed);
  /// Of the last call: nodes that ran, and how many were calls of ours.
  void set_graph(size_t nodes, size_t calls);
  void add_op(const char* op, const std::string& detail, int64_t ns, int64_t bytes);
  /// {"calls", "plan_hits", "plan_misses", "phases": {"bind": {"ns", "ns_last"}, ...}, "ops": [{"op", "detail",
  /// "count", "ns", "bytes"}, ...], "graph": {"nodes", "calls", "splits", "device_runs", "replayed"}}, ops by
  /// descending time.
  Json json() const;

 private:
  struct OpSum {
    int64_t count = 0, ns = 0, bytes = 0;
  };
  mutable std::mutex mutex_;
  int64_t calls_ = 0, hits_ = 0, device_runs_ = 0, replayed_ = 0;
  size_t graph_nodes_ = 0, graph_calls_ = 0;
  CallTimes sum_, last_;
  std::map<std::pair<std::string, std::string>, OpSum> ops_;
};

}  // namespace etggml::engine
