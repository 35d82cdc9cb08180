// Gated units: the products of gate and up, and the activation between them, as one kernel.
#pragma once

#include <vector>

#include "fusion/products.h"

namespace etggml::fusion {

/// activation(gate) * up, and the nodes from them to the product of both.
struct Unit {
  cuda::MatVecDesc::Glu kind = cuda::MatVecDesc::None;
  ggml_tensor *gate = nullptr, *up = nullptr;  // up is nullptr when both are in `gate`, side by side
  std::vector<const ggml_tensor*> inside;      // the last is the unit's result
};

/// The gated unit that ends in `node`: a GLU, or an activation and a product of two nodes. `kind` is None otherwise.
Unit gated_unit(ggml_tensor* node);
/// Is everything inside read there alone, but for the result?
bool closed(const Unit& unit, const Readers& readers);

/// Replaces pairs of products by one with the gated unit behind them. `taken`: products that became part of another.
void take_gates(const std::vector<ggml_tensor*>& nodes, const Readers& readers, const KernelSupport& support,
                std::vector<Product>* products, std::vector<bool>* taken);

}  // namespace etggml::fusion
