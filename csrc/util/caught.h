// Exceptions become a Status where nothing may be thrown any further: at the C ABI and at ExecuTorch's boundary.
#pragma once

#include <exception>
#include <new>

#include "util/status.h"

#if defined(__GLIBCXX__) || __has_include(<bits/cxxabi_forced.h>)
#include <cxxabi.h>
#endif

// pthread_exit() and pthread_cancel() unwind a thread's frames with an exception that must not be swallowed: the C
// library then ends the process. Python ends its daemon threads in that way, inside a callback, when the interpreter
// ends.
#if defined(_CXXABI_FORCED_H)
#define ETGGML_CATCH_UNWIND       \
  catch (abi::__forced_unwind&) { \
    throw;                        \
  }
#else
#define ETGGML_CATCH_UNWIND
#endif

namespace etggml {

/// The result of `body`, a Status or Result; or the Status of the exception that it threw.
template <class Fn>
auto caught(Fn body) -> decltype(body()) {
  try {
    return body();
  } catch (const std::bad_alloc&) {
    return Status(ETGGML_OUT_OF_MEMORY, "out of memory");
  } catch (const std::exception& e) {
    return Status(ETGGML_INTERNAL, e.what());
  }
  ETGGML_CATCH_UNWIND catch (...) { return Status(ETGGML_INTERNAL, "unknown exception"); }
}

}  // namespace etggml
