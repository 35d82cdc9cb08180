// Signals of the host language. A host that handles them itself, between two of its own instructions (Python), cannot
// do so while a call of ours runs. So a running call asks it now and then.
#pragma once

#include <cstdint>

#include "executorch_ggml.h"

namespace etggml {

/// See etggml_set_interrupt.
void set_interrupt(etggml_interrupt_fn fn, const volatile bool* stop, void* user);

/// When a call asks next. Asking takes a few microseconds in a Python thread, so it happens every 50 ms. In between
/// only the clock is read (a coarse one, of some 10 ns); where a call asks very often, not even that.
class InterruptClock {
 public:
  InterruptClock();
  /// To be asked often, by one thread at a time. True: the call is to end.
  bool interrupted() { return --skip_ <= 0 && look(); }

 private:
  bool look();
  int skip_ = 0, stride_ = 1;
  int64_t looked_ = 0, asked_;
};

}  // namespace etggml
