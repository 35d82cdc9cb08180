// Signals of the host language. A host that handles them itself, between two of its own instructions (Python), cannot
// do so while a call of ours runs. So a running call asks it now and then.
#pragma once

#include <cstdint>

#include "executorch_ggml.h"

namespace etggml {

/// See etggml_set_interrupt.
void set_interrupt(etggml_interrupt_fn fn, const volatile bool* stop, void* user);

/// When a call asks next. Asking takes a few microseconds in a Python thread, so it happens every 50 ms. Reading the
/// clock takes a few dozen nanoseconds, so in a graph of small nodes it does not happen for every node.
class InterruptClock {
 public:
  /// To be asked often, by one thread at a time. True: the call is to end.
  bool interrupted() { return --skip_ <= 0 && look(); }

 private:
  bool look();
  int skip_ = 0, stride_ = 1;
  int64_t looked_ = 0, asked_ = 0;
};

}  // namespace etggml
