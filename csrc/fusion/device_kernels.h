// Nodes that are kernels of ours from the start: a device with our kernels offers them to the builder.
#pragma once

#include "fusion/fuse.h"

namespace etggml::fusion {

class DeviceKernels final : public kernels::Kernels {
 public:
  DeviceKernels(const KernelSupport& support, DescStore& store) : support_(support), store_(store) {}
  ggml_tensor* causal_mask(ggml_context* ctx, ggml_tensor* positions, int64_t n_kv, int64_t window) override;

 private:
  const KernelSupport& support_;
  DescStore& store_;
};

/// A token chosen from the last row of `logits` (F32, contiguous): a node I32 [1], see ArgmaxDesc for its values.
/// scratch: memory that it needs. params: see SampleDesc::params, filled by the host. node is nullptr when the device
/// has no kernel.
struct ChoiceNodes {
  ggml_tensor* node = nullptr;
  ggml_tensor* scratch = nullptr;
  ggml_tensor* params = nullptr;
};
ChoiceNodes argmax_nodes(ggml_context* ctx, ggml_tensor* logits, const KernelSupport& support, DescStore& store);
ChoiceNodes sample_nodes(ggml_context* ctx, ggml_tensor* logits, const KernelSupport& support, DescStore& store);

}  // namespace etggml::fusion
