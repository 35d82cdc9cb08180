// NVIDIA's driver, asked without linking it. So its limits are known before ggml's CUDA module is opened.
#pragma once

#include <string>
#include <vector>

namespace etggml::devices {

struct CudaDriver {
  std::string problem;            ///< why there is nothing to compute on; "" when there is
  std::vector<int> capabilities;  ///< compute capability of each GPU, in the driver's order: 90 is 9.0
};

/// `cuda`: the version that the driver has to support, "13.0".
CudaDriver probe_cuda_driver(const std::string& cuda);

/// Whether code for `architectures` ("80-real;90-real;100-virtual", CMake's notation) runs on a GPU of that capability.
bool architectures_cover(const std::string& architectures, int capability);

}  // namespace etggml::devices
