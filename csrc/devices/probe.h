// The builder's questions, put to a ggml device.
#pragma once

#include "device_rules/device_probe.h"
#include "ggml-backend.h"

namespace etggml::devices {

/// A device other than the CPU: ggml's own answer and the rules that it leaves out (graph/gpu_rules.h).
class Probe final : public device_rules::DeviceProbe {
 public:
  explicit Probe(ggml_backend_dev_t device) : device_(device) {}
  bool supports(const ggml_tensor* node) const override;

 private:
  ggml_backend_dev_t device_;
};

/// The probe of the CPU: none by default. With EXECUTORCH_GGML_FORMS=cuda (read at each call) it answers as ggml-cuda
/// would. Graphs then have the forms for CUDA and run on the CPU.
const device_rules::DeviceProbe* cpu_probe();

}  // namespace etggml::devices
