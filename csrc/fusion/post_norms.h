// Post-norms: the residual stream plus a normalised result, computed where the next product reads its columns.
#pragma once

#include <vector>

#include "fusion/products.h"

namespace etggml::fusion {

/// Every ADD(residual, RMS norm of a result) moves into the first product that reads it, if nothing reads it earlier.
void take_post_norms(const Readers& readers, const KernelSupport& support, std::vector<Product>* products);

}  // namespace etggml::fusion
