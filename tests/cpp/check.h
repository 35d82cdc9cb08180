// CHECK: what the C++ tests assert with. Counts failures and goes on, so that one run shows all of them.
#pragma once

#include <cstdio>

inline int& failures() {
  static int count = 0;
  return count;
}

#define CHECK(condition)                                                          \
  do {                                                                            \
    if (!(condition)) {                                                           \
      std::fprintf(stderr, "%s:%d: CHECK(%s)\n", __FILE__, __LINE__, #condition); \
      ++failures();                                                               \
    }                                                                             \
  } while (0)
