// The default thread count: CPU lists, SMT siblings, cgroup quotas of both versions, on made-up sysfs trees.
#include <stdlib.h>
#include <sys/stat.h>

#include <cmath>
#include <cstdio>
#include <string>
#include <vector>

#include "check.h"
#include "devices/threads.h"

namespace detail = etggml::devices::detail;

namespace {

void write(const std::string& path, const std::string& text) {
  for (size_t slash = path.find('/', 1); slash != std::string::npos; slash = path.find('/', slash + 1)) {
    mkdir(path.substr(0, slash).c_str(), 0700);
  }
  std::FILE* file = std::fopen(path.c_str(), "w");
  CHECK(file != nullptr);
  if (file == nullptr) return;
  std::fputs(text.c_str(), file);
  std::fclose(file);
}

std::string siblings(const std::string& root, int cpu) {
  return root + "/cpu" + std::to_string(cpu) + "/topology/thread_siblings_list";
}

void test_lists() {
  CHECK((detail::parse_cpu_list("0-3,8,10-11\n") == std::vector<int>{0, 1, 2, 3, 8, 10, 11}));
  CHECK((detail::parse_cpu_list("7") == std::vector<int>{7}));
  CHECK(detail::parse_cpu_list("").empty());
  CHECK(detail::parse_cpu_list("x,-").empty());
  CHECK((detail::parse_cpu_list("2,x,5") == std::vector<int>{2, 5}));
  CHECK(detail::parse_cpu_list("0-99999999999").empty());  // refused, not expanded
}

void test_cores(const std::string& root) {
  // Four CPUs on two cores, numbered as Linux does on most machines: 0 and 2 are siblings.
  for (int cpu = 0; cpu < 4; ++cpu) write(siblings(root, cpu), cpu % 2 == 0 ? "0,2\n" : "1,3\n");
  CHECK(detail::count_cores({0, 1, 2, 3}, root) == 2);
  CHECK(detail::count_cores({0, 2}, root) == 1);
  CHECK(detail::count_cores({2}, root) == 1);  // its sibling is not ours, the core is
  CHECK(detail::count_cores({1, 2}, root) == 2);
  CHECK(detail::count_cores({0, 9}, root) == 2);  // no topology for 9
}

bool near(double a, double b) { return std::fabs(a - b) < 1e-9; }

void test_quota_v2(const std::string& root) {
  write(root + "/a/b/cpu.max", "max 100000\n");
  write(root + "/a/cpu.max", "150000 100000\n");
  CHECK(near(detail::cgroup_quota("0::/a/b\n", root), 1.5));  // the parent's limit holds for the child
  write(root + "/a/b/cpu.max", "50000 100000\n");
  CHECK(near(detail::cgroup_quota("0::/a/b\n", root), 0.5));
  CHECK(near(detail::cgroup_quota("0::/\n", root), 0));
  CHECK(near(detail::cgroup_quota("0::/missing/group\n", root), 0));
  CHECK(near(detail::cgroup_quota("", root), 0));
}

void test_quota_v1(const std::string& root) {
  write(root + "/cpu,cpuacct/docker/x/cpu.cfs_quota_us", "200000\n");
  write(root + "/cpu,cpuacct/docker/x/cpu.cfs_period_us", "100000\n");
  CHECK(near(detail::cgroup_quota("5:cpu,cpuacct:/docker/x\n4:memory:/docker/x\n", root), 2.0));
  write(root + "/cpu,cpuacct/docker/x/cpu.cfs_quota_us", "-1\n");
  CHECK(near(detail::cgroup_quota("5:cpu,cpuacct:/docker/x\n", root), 0));
  // In a container the path is the host's; the mount shows the container's own group.
  write(root + "/cpu/cpu.cfs_quota_us", "300000\n");
  write(root + "/cpu/cpu.cfs_period_us", "100000\n");
  CHECK(near(detail::cgroup_quota("5:cpu:/not/visible\n", root), 3.0));
  CHECK(near(detail::cgroup_quota("4:cpuset:/not/visible\n", root), 0));
}

}  // namespace

int main() {
  char name[] = "/tmp/etggml_threads_XXXXXX";
  CHECK(mkdtemp(name) != nullptr);
  const std::string root = name;
  test_lists();
  test_cores(root + "/cpus");
  test_quota_v2(root + "/v2");
  test_quota_v1(root + "/v1");
  const int threads = etggml::devices::default_threads();
  CHECK(threads >= 1 && threads <= etggml::devices::kMaxThreads);
  return failures() == 0 ? 0 : 1;
}
