// Matrix products with few columns, and what stands before and behind them.
#pragma once

#include <vector>

#include "fusion/fuse.h"
#include "fusion/readers.h"

namespace etggml::graph {

/// A descriptor, and the nodes that its kernel computes.
struct Product {
  cuda::MatVecDesc desc;
  std::vector<ggml_tensor*> outs;  // by segment; the first is where the kernel runs
};

/// Every product that the device has a kernel for, in the order of the graph.
std::vector<Product> find_products(const std::vector<ggml_tensor*>& nodes, const Readers& readers,
                                   const KernelSupport& support);

}  // namespace etggml::graph
