// Kernels on Highway choose the best instruction set of this CPU: tests try each of them.
#pragma once

#include "hwy/highway.h"

/// Calls f(name) once for each instruction set that the kernels are compiled for and this CPU has.
template <class F>
void on_each_target(F f) {
  for (const int64_t target : hwy::SupportedAndGeneratedTargets()) {
    hwy::SetSupportedTargetsForTest(target);
    f(hwy::TargetName(target));
  }
  hwy::SetSupportedTargetsForTest(0);
}
