#include "engine/profile.h"

#include <algorithm>
#include <numeric>
#include <utility>
#include <vector>

namespace etggml::engine {

const char* phase_name(Phase phase) {
  static const char* const names[kPhases] = {"bind", "plan", "fill", "compute", "output"};
  return names[static_cast<size_t>(phase)];
}

int64_t CallTimes::total() const { return std::accumulate(phase.begin(), phase.end(), int64_t{0}); }

void Profile::add_call(const CallTimes& times, bool plan_hit) {
  std::lock_guard<std::mutex> guard(mutex_);
  ++calls_;
  hits_ += plan_hit ? 1 : 0;
  for (size_t i = 0; i < kPhases; ++i) sum_.phase[i] += times.phase[i];
  last_ = times;
}

void Profile::add_device_run(bool replayed) {
  std::lock_guard<std::mutex> guard(mutex_);
  ++device_runs_;
  replayed_ += replayed ? 1 : 0;
}

void Profile::set_graph(size_t nodes, size_t calls) {
  std::lock_guard<std::mutex> guard(mutex_);
  graph_nodes_ = nodes;
  graph_calls_ = calls;
}

void Profile::add_op(const char* op, const std::string& detail, int64_t ns, int64_t bytes) {
  std::lock_guard<std::mutex> guard(mutex_);
  OpSum& sum = ops_[{op, detail}];
  sum.count += 1;
  sum.ns += ns;
  sum.bytes += bytes;
}

Json Profile::json() const {
  std::lock_guard<std::mutex> guard(mutex_);
  Json phases = Json::object();
  for (size_t i = 0; i < kPhases; ++i) {
    phases[phase_name(static_cast<Phase>(i))] = {{"ns", sum_.phase[i]}, {"ns_last", last_.phase[i]}};
  }
  std::vector<std::pair<std::pair<std::string, std::string>, OpSum>> sorted(ops_.begin(), ops_.end());
  std::sort(sorted.begin(), sorted.end(), [](const auto& a, const auto& b) { return a.second.ns > b.second.ns; });
  Json ops = Json::array();
  for (const auto& op : sorted) {
    ops.push_back({{"op", op.first.first},
                   {"detail", op.first.second},
                   {"count", op.second.count},
                   {"ns", op.second.ns},
                   {"bytes", op.second.bytes}});
  }
  // One backend computes a delegate's graph, from its first node to its last: there is nothing to split.
  const Json graph = {{"nodes", graph_nodes_},
                      {"calls", graph_calls_},
                      {"splits", graph_nodes_ > 0 ? 1 : 0},
                      {"device_runs", device_runs_},
                      {"replayed", replayed_}};
  return {{"calls", calls_},  {"plan_hits", hits_}, {"plan_misses", calls_ - hits_},
          {"phases", phases}, {"ops", ops},         {"graph", graph}};
}

}  // namespace etggml::engine
