// Signals of the host language. A host that handles them itself, between two of its own instructions (Python), cannot
// do so while a call of ours runs. So a running call asks it now and then.
#pragma once

#include <cstdint>

#include "executorch_ggml.h"

namespace etggml {

/// See etggml_set_interrupt.
void set_interrupt(etggml_interrupt_fn fn, const volatile bool* stop, void* user);

/// When a call asks next. Asking costs a thread of Python's a few microseconds, so it is done every 50 ms. In between
/// only the clock is read: a coarse one, which costs a few nanoseconds and is good for a few milliseconds.
class InterruptClock {
 public:
  InterruptClock();
  /// To be asked often, by one thread at a time. True: the call is to end.
  bool interrupted();

 private:
  int64_t asked_;
};

}  // namespace etggml
