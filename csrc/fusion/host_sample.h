// The plain form of cuda::SampleCall.
#pragma once

#include "fusion/calls.h"

namespace etggml::graph {

void sample_on_host(const cuda::SampleCall& call);

}  // namespace etggml::graph
