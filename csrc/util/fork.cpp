#include "util/fork.h"

#include <pthread.h>
#include <time.h>

#include <atomic>
#include <map>

namespace etggml {
namespace {

std::atomic<uint64_t> count{0};

struct Registry {
  std::mutex mutex;  // of the list; the first that a fork takes
  std::multimap<int, ProcessMutex*> all;
  std::multimap<int, ProcessMutex*> held;  // by the fork under way
};

Registry& registry() {
  static Registry* instance = new Registry();
  return *instance;
}

// A callback of the user's may fork while its own thread holds one; it will let go of it, in the child as well.
bool lock_soon(ProcessMutex* mutex) {
  for (int tries = 0; tries < 1000; ++tries) {
    if (mutex->try_lock()) return true;
    const timespec pause = {0, 1000000};
    nanosleep(&pause, nullptr);
  }
  return false;
}

void before() {
  Registry& r = registry();
  r.mutex.lock();
  r.held.clear();
  for (const auto& entry : r.all) {
    if (lock_soon(entry.second)) r.held.insert(entry);
  }
}

void after() {
  Registry& r = registry();
  for (auto it = r.held.rbegin(); it != r.held.rend(); ++it) it->second->unlock();
  r.held.clear();
  r.mutex.unlock();
}

void after_in_child() {
  count.fetch_add(1, std::memory_order_relaxed);
  after();
}

const int installed = pthread_atfork(before, after, after_in_child);

}  // namespace

uint64_t forks() { return count.load(std::memory_order_relaxed); }

ProcessMutex::ProcessMutex(int order) {
  (void)installed;
  Registry& r = registry();
  std::lock_guard<std::mutex> guard(r.mutex);
  r.all.emplace(order, this);
}

}  // namespace etggml
