// The fallback of every kernel on the CPU, written plainly. csrc/cuda must give the same results. Graphs that are fused
// for a GPU run so (and are tested) on machines without one.
#pragma once

#include "fusion/fuse.h"

namespace etggml::fusion {

class HostFallback final : public KernelSupport {
 public:
  bool supports(const cuda::KernelDesc& desc) const override;
  ggml_custom_op_t on_host() const override;
};

}  // namespace etggml::fusion
