// What a device with calls of ours offers to the builder: nodes that stand for themselves from the start.
#pragma once

#include "fusion/fuse.h"

namespace etggml::graph {

class DeviceKernels final : public Kernels {
 public:
  DeviceKernels(const CallSupport& support, CallStore& store) : support_(support), store_(store) {}
  ggml_tensor* causal_mask(ggml_context* ctx, ggml_tensor* positions, int64_t n_kv, int64_t window) override;

 private:
  const CallSupport& support_;
  CallStore& store_;
};

/// A token chosen from the last row of `logits` (F32, contiguous): a node I32 [1], see ArgmaxCall for its values.
/// scratch: memory that it needs. params: see SampleCall::params, filled by the host. node is nullptr when the device
/// has no kernel.
struct ChoiceNodes {
  ggml_tensor* node = nullptr;
  ggml_tensor* scratch = nullptr;
  ggml_tensor* params = nullptr;
};
ChoiceNodes argmax_call(ggml_context* ctx, ggml_tensor* logits, const CallSupport& support, CallStore& store);
ChoiceNodes sample_call(ggml_context* ctx, ggml_tensor* logits, const CallSupport& support, CallStore& store);

}  // namespace etggml::graph
