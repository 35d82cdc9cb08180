// Matrix products with few columns, and the nodes before and behind them.
#pragma once

#include <unordered_map>
#include <vector>

#include "fusion/fuse.h"
#include "fusion/readers.h"

namespace etggml::fusion {

/// A descriptor, and the nodes that its kernel computes.
struct Product {
  cuda::MatVecDesc desc;
  std::vector<ggml_tensor*> outs;            // by segment; the first is where the kernel runs
  std::vector<const ggml_tensor*> products;  // the MUL_MAT nodes
  ggml_tensor* sum = nullptr;                // an ADD that the kernel computes as well: desc.sum
};

/// F32 [size], the same for every column.
bool is_bias(const ggml_tensor* t, int64_t size);
/// Takes the additions behind a product: a bias, then a residual.
void follow(const Readers& readers, Product* product);
/// Do both multiply the same columns by matrices of the same type?
bool same_columns(const cuda::MatVecDesc& a, const cuda::MatVecDesc& b);

/// Every product that the device has a kernel for, in the order of the graph.
std::vector<Product> find_products(const std::vector<ggml_tensor*>& nodes, const Readers& readers,
                                   const KernelSupport& support);

}  // namespace etggml::fusion
