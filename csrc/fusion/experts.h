// Mixtures of experts for one column: the choice of experts, their gated products, and the weighted sum of their
// results.
#pragma once

#include <vector>

#include "fusion/products.h"

namespace etggml::fusion {

struct Route {
  cuda::RouteDesc desc;
  ggml_tensor* weights = nullptr;  // where the kernel runs
  ggml_tensor* ids = nullptr;      // written as well
};

/// Products with experts (MUL_MAT_ID) that the device has a kernel for, in the order of the graph.
std::vector<Product> find_expert_products(const std::vector<ggml_tensor*>& nodes, const Readers& readers,
                                          const KernelSupport& support);

/// Every choice of experts that the device has a kernel for.
std::vector<Route> find_routes(const std::vector<ggml_tensor*>& nodes, const Readers& readers,
                               const KernelSupport& support);

}  // namespace etggml::fusion
