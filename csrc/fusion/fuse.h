// Groups of a finished graph's nodes -> one node for one kernel of ours (csrc/cuda), where few columns make the number
// of kernels the cost. It works on ggml's graph and not on the IR, as ggml's own backends do. One .pte runs on every
// device, and each device decides which groups are worth one kernel. Every group is proved from the graph (shapes,
// layouts, readers) or left unchanged.
#pragma once

#include <memory>
#include <vector>

#include "fusion/descriptors.h"
#include "graph/build.h"

namespace etggml::fusion {

/// The device's answer: is there a kernel for this descriptor?
class KernelSupport {
 public:
  virtual ~KernelSupport() = default;
  virtual bool supports(const cuda::KernelDesc& desc) const = 0;
  /// The fallback that ggml-cpu runs for such a node; nullptr on a device that has the kernels.
  virtual ggml_custom_op_t on_host() const { return nullptr; }
};

/// The descriptors that nodes of a graph refer to; lives as long as the graph.
class DescStore {
 public:
  template <class T>
  T* keep(const T& desc) {
    auto owned = std::make_shared<T>(desc);
    calls_.push_back(owned);
    return owned.get();
  }
  size_t size() const { return calls_.size(); }

 private:
  std::vector<std::shared_ptr<const void>> calls_;
};

/// Makes `node` a GGML_OP_CUSTOM that runs `desc`. `sources`: tensors it reads (null and repeated ones are left out,
/// and so are those that have memory: nobody has to wait for them).
void make_kernel_node(ggml_tensor* node, const KernelSupport& support, const char* name, const cuda::KernelDesc* desc,
                      const std::vector<const ggml_tensor*>& sources);
/// The descriptor of a node made by make_kernel_node().
const cuda::KernelDesc* descriptor_of(const ggml_tensor* node);

struct Fusion {
  /// Tensors that kernels write besides their node's own: they need memory of their own, and zeros in it.
  std::vector<ggml_tensor*> extra;
  size_t groups = 0;  // 0: the graph is unchanged
};

/// Rewrites built.graph (and drops values that no longer exist from built.values). Afterwards every tensor of the graph
/// must have memory of its own for the graph's whole run: the order of nodes no longer tells how long each is needed.
Fusion fuse(ggml_context* ctx, graph::Built& built, const KernelSupport& support, DescStore& store);

/// Bytes of separate memory for each result that has none yet.
size_t separate_bytes(const graph::Built& built);

}  // namespace etggml::fusion
