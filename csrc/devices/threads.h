// How many threads a session should use: the physical cores this process may really use.
#pragma once

#include <string>
#include <vector>

namespace etggml::devices {

/// Physical cores available: the scheduler's affinity mask with SMT siblings counted once, bounded by the cgroup CPU
/// quota (rounded up). At least 1. Read anew on every call, because both may change while the process runs.
int default_threads();

/// Upper bound for the "threads" option (ggml's own limit is 512).
constexpr int kMaxThreads = 512;

namespace detail {

/// "0-3,8,10-11" -> {0,1,2,3,8,10,11}; malformed parts are skipped.
std::vector<int> parse_cpu_list(const std::string& text);

/// Number of physical cores among `cpus`, by topology/thread_siblings_list below `sysfs_cpu`
/// (".../cpu%d/topology/..."). A CPU of unknown topology counts as a core of its own.
int count_cores(const std::vector<int>& cpus, const std::string& sysfs_cpu);

/// CPUs' worth of quota of the cgroup(s) that `proc_self_cgroup` (contents of /proc/self/cgroup) names, below `root`
/// (normally
/// "/sys/fs/cgroup"), the tightest along the path to the root; 0 when unlimited. cgroup v2 (cpu.max) and v1
/// (cpu.cfs_quota_us).
double cgroup_quota(const std::string& proc_self_cgroup, const std::string& root);

}  // namespace detail
}  // namespace etggml::devices
