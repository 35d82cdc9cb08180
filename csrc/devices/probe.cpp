#include "devices/probe.h"

#include "device_rules/cuda_answers.h"
#include "device_rules/gpu_rules.h"
#include "util/env.h"

namespace etggml::devices {
namespace {

struct CudaForms final : device_rules::DeviceProbe {
  bool supports(const ggml_tensor* node) const override {
    return device_rules::gpu_kernel_takes(node) && device_rules::cuda_supports(node);
  }
};

}  // namespace

bool Probe::supports(const ggml_tensor* node) const {
  return device_rules::gpu_kernel_takes(node) && ggml_backend_dev_supports_op(device_, node);
}

const device_rules::DeviceProbe* cpu_probe() {
  static const CudaForms cuda;
  return env_string("EXECUTORCH_GGML_FORMS").rfind("cuda", 0) == 0 ? &cuda : nullptr;
}

}  // namespace etggml::devices
