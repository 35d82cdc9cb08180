// The one symbol of this module: descriptors in, launches out.
#include <array>

#include "kernels.cuh"

namespace etggml::cuda {
namespace {

constexpr int kMaxDevices = 64;

/// An attribute of a device, asked once.
template <cudaDeviceAttr Attribute>
int attribute(int device) {
  static std::array<int, kMaxDevices> known{};
  if (device < 0 || device >= kMaxDevices) return 0;
  if (known[static_cast<size_t>(device)] == 0) {
    int value = 0;
    if (cudaDeviceGetAttribute(&value, Attribute, device) != cudaSuccess) return 0;
    known[static_cast<size_t>(device)] = value;
  }
  return known[static_cast<size_t>(device)];
}

template <class T>
const T& as(const KernelDesc* desc) {
  return *static_cast<const T*>(desc);
}

bool supports(int device, const KernelDesc* desc) {
  if (compute_capability(device) < 80) return false;
  switch (desc->kind) {
    case Kind::MatVec:
      return supports_matvec(device, as<MatVecDesc>(desc));
    case Kind::Heads:
      return supports_heads(device, as<HeadsDesc>(desc));
    case Kind::Attention:
      return supports_attention(device, as<AttentionDesc>(desc));
    case Kind::HeadsAttention:
      return supports_heads_attention(device, as<HeadsAttentionDesc>(desc));
    case Kind::Route:
      return supports_route(device, as<RouteDesc>(desc));
    case Kind::CausalMask:
    case Kind::Argmax:
    case Kind::Sample:
      return true;
  }
  return false;
}

bool launch_kernel(int device, void* stream, const KernelDesc* desc) {
  const auto s = static_cast<cudaStream_t>(stream);
  switch (desc->kind) {
    case Kind::MatVec:
      return launch_matvec(device, s, as<MatVecDesc>(desc));
    case Kind::Heads:
      return launch_heads(device, s, as<HeadsDesc>(desc));
    case Kind::Attention:
      return launch_attention(device, s, as<AttentionDesc>(desc));
    case Kind::HeadsAttention:
      return launch_heads_attention(device, s, as<HeadsAttentionDesc>(desc));
    case Kind::CausalMask:
      return launch_causal_mask(device, s, as<CausalMaskDesc>(desc));
    case Kind::Argmax:
      return launch_argmax(device, s, as<ArgmaxDesc>(desc));
    case Kind::Route:
      return launch_route(device, s, as<RouteDesc>(desc));
    case Kind::Sample:
      return launch_sample(device, s, as<SampleDesc>(desc));
  }
  return false;
}

}  // namespace

int compute_capability(int device) {
  return attribute<cudaDevAttrComputeCapabilityMajor>(device) * 10 +
         attribute<cudaDevAttrComputeCapabilityMinor>(device);
}
int multiprocessors(int device) { return attribute<cudaDevAttrMultiProcessorCount>(device); }
size_t shared_memory_limit(int device) {
  return static_cast<size_t>(attribute<cudaDevAttrMaxSharedMemoryPerBlockOptin>(device));
}

}  // namespace etggml::cuda

extern "C" __attribute__((visibility("default"))) const etggml::cuda::Module* etggml_cuda_module() {
  static const etggml::cuda::Module module = {etggml::cuda::kDescVersion, etggml::cuda::supports,
                                              etggml::cuda::launch_kernel};
  return &module;
}
