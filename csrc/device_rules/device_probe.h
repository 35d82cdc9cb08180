// What the builder asks a device whose kernels are not ggml-cpu's.
#pragma once

#include "ggml.h"

namespace etggml::graph {

class DeviceProbe {
 public:
  virtual ~DeviceProbe() = default;
  /// Whether it runs this node, whose sources may have no memory yet.
  virtual bool supports(const ggml_tensor* node) const = 0;
};

}  // namespace etggml::graph
