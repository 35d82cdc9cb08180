// ggml custom ops with parameters of their own. ggml keeps the function and its user pointer in the first bytes of
// op_params and does not use the rest. So data of one node can be stored there, with the node's lifetime.
#pragma once

#include <cstring>

#include "ggml.h"
#include "kernels/stopping.h"

namespace etggml::kernels {

constexpr size_t kCustomOpName = 32;  // behind ggml's own fields (24 bytes on 64-bit machines)
constexpr size_t kCustomOpParams = 40;
static_assert(kCustomOpName >= sizeof(ggml_custom_op_t) + 2 * sizeof(void*), "ggml_custom_op_params comes first");

/// `name` must be a string literal; profiles show it.
template <class T>
void set_custom_op(ggml_tensor* y, const char* name, const T& params) {
  static_assert(sizeof(T) <= GGML_MAX_OP_PARAMS - kCustomOpParams, "no room");
  char* bytes = reinterpret_cast<char*>(y->op_params);
  std::memcpy(bytes + kCustomOpName, &name, sizeof(name));
  std::memcpy(bytes + kCustomOpParams, &params, sizeof(T));
}

/// Deals out the numbers 0, 1, ... count - 1 of one node to the threads that compute it, each to one thread: a thread
/// that the machine holds up takes fewer. Of two threads one begins at either end, so that in every node each finds
/// its data in its own cache. Every thread must ask until it gets a number that is not less than count: the last one
/// to be told so starts the count anew for the next run. When the call is to end there are no more numbers (and the
/// count is left as it is). T: the node's parameters.
template <class T>
class Tickets {
  static constexpr size_t kAt = GGML_MAX_OP_PARAMS - sizeof(int32_t);
  static_assert(kCustomOpParams + sizeof(T) <= kAt, "no room for the counter");

 public:
  Tickets(ggml_tensor* y, int64_t count, int thread, int threads)
      : y_(y),
        thread_(thread),
        taken_(reinterpret_cast<int32_t*>(reinterpret_cast<char*>(y->op_params) + kAt)),
        count_(static_cast<int32_t>(count)),
        last_(count_ + threads - 1),
        ends_(threads == 2),
        next_(thread == 0 ? 0 : count_ - 1),
        step_(thread == 0 ? 1 : -1) {}

  int64_t take() {
    if (stopped(y_, thread_)) return count_;
    const int32_t taken = __atomic_fetch_add(taken_, 1, __ATOMIC_RELAXED);
    if (taken == last_) __atomic_store_n(taken_, 0, __ATOMIC_RELAXED);  // ggml's barrier makes it known
    if (!ends_ || taken >= count_) return taken;
    const int32_t mine = next_;
    next_ += step_;
    return mine;
  }

 private:
  const ggml_tensor* y_;
  int thread_;
  int32_t* taken_;
  int32_t count_, last_;
  bool ends_;
  int32_t next_, step_;
};

template <class T>
T custom_op_params(const ggml_tensor* y) {
  T params;
  std::memcpy(&params, reinterpret_cast<const char*>(y->op_params) + kCustomOpParams, sizeof(T));
  return params;
}

/// For a tensor with op GGML_OP_CUSTOM made by set_custom_op().
inline const char* custom_op_name(const ggml_tensor* y) {
  const char* name;
  std::memcpy(&name, reinterpret_cast<const char*>(y->op_params) + kCustomOpName, sizeof(name));
  return name;
}

/// The name of any tensor's operation in profiles and dumps.
inline const char* op_name(const ggml_tensor* y) {
  return y->op == GGML_OP_CUSTOM ? custom_op_name(y) : ggml_op_desc(y);
}

}  // namespace etggml::kernels
