// The question of the builder to a device with other kernels than ggml-cpu's.
#pragma once

#include "ggml.h"

namespace etggml::device_rules {

class DeviceProbe {
 public:
  virtual ~DeviceProbe() = default;
  /// Whether it runs this node. The sources may have no memory yet.
  virtual bool supports(const ggml_tensor* node) const = 0;
};

}  // namespace etggml::device_rules
