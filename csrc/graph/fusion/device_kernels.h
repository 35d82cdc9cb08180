// What a device with calls of ours offers to the builder: nodes that stand for themselves from the start.
#pragma once

#include "graph/fusion/fuse.h"

namespace etggml::graph {

class DeviceKernels final : public Kernels {
 public:
  DeviceKernels(const CallSupport& support, CallStore& store) : support_(support), store_(store) {}
  ggml_tensor* causal_mask(ggml_context* ctx, ggml_tensor* positions, int64_t n_kv, int64_t window) override;

 private:
  const CallSupport& support_;
  CallStore& store_;
};

/// The greedy choice of the last row of `logits` (F32, contiguous): a node I32 [1], see ArgmaxCall for its values, and
/// scratch memory that it needs. nullptr when the device has no kernel.
struct Argmax {
  ggml_tensor* node = nullptr;
  ggml_tensor* scratch = nullptr;
};
Argmax argmax_call(ggml_context* ctx, ggml_tensor* logits, const CallSupport& support, CallStore& store);

}  // namespace etggml::graph
