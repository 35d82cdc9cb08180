#include "devices/threads.h"

#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <set>

namespace etggml::devices {
namespace {

// sysfs and cgroup files are tiny; "" when missing.
std::string read_file(const std::string& path) {
  std::string text;
  std::FILE* file = std::fopen(path.c_str(), "re");
  if (file == nullptr) return text;
  char buffer[4096];
  size_t n;
  while (text.size() < (1u << 20) && (n = std::fread(buffer, 1, sizeof buffer, file)) > 0) text.append(buffer, n);
  std::fclose(file);
  return text;
}

std::vector<int> affinity() {
  std::vector<int> cpus;
#if defined(__linux__)
  // A machine may have more CPUs than cpu_set_t's 1024: grow until the kernel is satisfied.
  for (int count = 1024; count <= (1 << 18); count *= 2) {
    cpu_set_t* set = CPU_ALLOC(count);
    if (set == nullptr) break;
    const size_t bytes = CPU_ALLOC_SIZE(count);
    const int rc = sched_getaffinity(0, bytes, set);
    if (rc == 0) {
      for (int cpu = 0; cpu < count; ++cpu) {
        if (CPU_ISSET_S(cpu, bytes, set)) cpus.push_back(cpu);
      }
    }
    CPU_FREE(set);
    if (rc == 0) break;
  }
#endif
  if (cpus.empty()) {
    const long online = sysconf(_SC_NPROCESSORS_ONLN);
    for (long cpu = 0; cpu < online; ++cpu) cpus.push_back(static_cast<int>(cpu));
  }
  return cpus;
}

double quota_v2(const std::string& directory) {
  const std::string text = read_file(directory + "/cpu.max");
  long long quota = 0, period = 0;
  // "max 100000" has no number in front: unlimited.
  if (std::sscanf(text.c_str(), "%lld %lld", &quota, &period) != 2 || quota <= 0 || period <= 0) return 0;
  return static_cast<double>(quota) / static_cast<double>(period);
}

double quota_v1(const std::string& directory) {
  const long long quota = std::atoll(read_file(directory + "/cpu.cfs_quota_us").c_str());
  const long long period = std::atoll(read_file(directory + "/cpu.cfs_period_us").c_str());
  if (quota <= 0 || period <= 0) return 0;  // -1: unlimited
  return static_cast<double>(quota) / static_cast<double>(period);
}

template <class Read>
double tightest(const std::string& mount, std::string path, Read read) {
  double best = 0;
  for (;;) {
    const double here = read(mount + path);
    if (here > 0 && (best == 0 || here < best)) best = here;
    if (path.empty() || path == "/") return best;
    const size_t slash = path.find_last_of('/');
    path = slash == std::string::npos ? std::string() : path.substr(0, slash);
  }
}

bool has_controller(const std::string& list, const std::string& name) {
  size_t at = 0;
  while (at <= list.size()) {
    const size_t comma = std::min(list.find(',', at), list.size());
    if (list.compare(at, comma - at, name) == 0) return true;
    at = comma + 1;
  }
  return false;
}

}  // namespace

namespace detail {

std::vector<int> parse_cpu_list(const std::string& text) {
  std::vector<int> cpus;
  const char* p = text.c_str();
  while (*p != '\0') {
    char* end;
    const long first = std::strtol(p, &end, 10);
    if (end == p) {
      ++p;
      continue;
    }
    long last = first;
    p = end;
    if (*p == '-') {
      last = std::strtol(p + 1, &end, 10);
      if (end == p + 1) last = first;
      p = end;
    }
    if (first < 0 || last - first > (1 << 18)) continue;
    for (long cpu = first; cpu <= last; ++cpu) cpus.push_back(static_cast<int>(cpu));
  }
  return cpus;
}

int count_cores(const std::vector<int>& cpus, const std::string& sysfs_cpu) {
  // A core is named by its lowest sibling, whether or not that sibling is in `cpus`.
  std::set<int> cores;
  for (int cpu : cpus) {
    const std::vector<int> siblings =
        parse_cpu_list(read_file(sysfs_cpu + "/cpu" + std::to_string(cpu) + "/topology/thread_siblings_list"));
    cores.insert(siblings.empty() ? cpu : *std::min_element(siblings.begin(), siblings.end()));
  }
  return static_cast<int>(cores.size());
}

double cgroup_quota(const std::string& proc_self_cgroup, const std::string& root) {
  double best = 0;
  size_t at = 0;
  while (at < proc_self_cgroup.size()) {
    const size_t newline = std::min(proc_self_cgroup.find('\n', at), proc_self_cgroup.size());
    const std::string line = proc_self_cgroup.substr(at, newline - at);
    at = newline + 1;
    const size_t first = line.find(':');
    const size_t second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    const std::string path = line.substr(second + 1);
    double quota = 0;
    if (controllers.empty()) {
      quota = tightest(root, path, quota_v2);
    } else if (has_controller(controllers, "cpu")) {
      // Distributions mount the controller as "cpu", "cpu,cpuacct" or through a symbolic link of either.
      for (const std::string& mount : {root + "/" + controllers, root + "/cpu"}) {
        quota = tightest(mount, path, quota_v1);
        // Inside a container the path is the host's, which is not visible here: the mount itself is the container's.
        if (quota > 0) break;
      }
    }
    if (quota > 0 && (best == 0 || quota < best)) best = quota;
  }
  return best;
}

}  // namespace detail

int default_threads() {
  const int cores = detail::count_cores(affinity(), "/sys/devices/system/cpu");
  const double quota = detail::cgroup_quota(read_file("/proc/self/cgroup"), "/sys/fs/cgroup");
  int threads = cores;
  if (quota > 0) threads = std::min(threads, static_cast<int>(std::ceil(quota)));
  return std::max(1, std::min(threads, kMaxThreads));
}

}  // namespace etggml::devices
