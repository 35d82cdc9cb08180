// pthread_exit() and pthread_cancel() unwind a thread's frames with an exception that must not be swallowed: the C
// library ends the process when it is. Python ends its daemon threads in that way, inside a callback, when the
// interpreter ends.
//
//   try { ... } catch (const std::exception& e) { ... } ETGGML_CATCH_UNWIND catch (...) { ... }
#pragma once

#if defined(__GLIBCXX__) || __has_include(<bits/cxxabi_forced.h>)
#include <cxxabi.h>
#endif

#if defined(_CXXABI_FORCED_H)
#define ETGGML_CATCH_UNWIND       \
  catch (abi::__forced_unwind&) { \
    throw;                        \
  }
#else
#define ETGGML_CATCH_UNWIND
#endif
