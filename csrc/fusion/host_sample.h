// The plain form of cuda::SampleDesc.
#pragma once

#include "fusion/descriptors.h"

namespace etggml::fusion {

void sample_on_host(const cuda::SampleDesc& desc);

}  // namespace etggml::fusion
