// fork(): a child has the memory of its parent and one of its threads. Threads of pools are gone; a mutex that another
// thread held is held for ever.
#pragma once

#include <cstdint>
#include <mutex>

namespace etggml {

/// How often this process is the child of a fork() since the library was loaded. An object that remembers another
/// number comes from the parent.
uint64_t forks();

/// A mutex of the whole process, never destroyed. Forking waits until nobody holds it, so a child finds it free.
/// `order`: who holds one takes others of a greater order only.
class ProcessMutex {
 public:
  explicit ProcessMutex(int order);
  void lock() { mutex_.lock(); }
  void unlock() { mutex_.unlock(); }
  bool try_lock() { return mutex_.try_lock(); }

 private:
  std::mutex mutex_;
};

}  // namespace etggml
