// Calls computed on the CPU, plainly: what the kernels of csrc/cuda must give, and how graphs that were fused for a GPU
// run (and are tested) on machines without one.
#pragma once

#include "fusion/fuse.h"

namespace etggml::graph {

class HostCalls final : public CallSupport {
 public:
  bool supports(const cuda::Call& call) const override;
  ggml_custom_op_t on_host() const override;
};

}  // namespace etggml::graph
