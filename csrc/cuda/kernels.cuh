// The kernels by descriptor: the interface of each file for module.cu.
#pragma once

#include "fusion/descriptors.h"
#include "launch.cuh"

namespace etggml::cuda {

bool supports_matvec(int device, const MatVecDesc& desc);
bool launch_matvec(int device, cudaStream_t stream, const MatVecDesc& desc);
bool supports_heads(int device, const HeadsDesc& desc);
bool launch_heads(int device, cudaStream_t stream, const HeadsDesc& desc);
bool supports_attention(int device, const AttentionDesc& desc);
bool launch_attention(int device, cudaStream_t stream, const AttentionDesc& desc);
bool supports_heads_attention(int device, const HeadsAttentionDesc& desc);
bool launch_heads_attention(int device, cudaStream_t stream, const HeadsAttentionDesc& desc);
bool launch_causal_mask(int device, cudaStream_t stream, const CausalMaskDesc& desc);
bool launch_argmax(int device, cudaStream_t stream, const ArgmaxDesc& desc);
bool supports_route(int device, const RouteDesc& desc);
bool launch_route(int device, cudaStream_t stream, const RouteDesc& desc);
bool launch_sample(int device, cudaStream_t stream, const SampleDesc& desc);

}  // namespace etggml::cuda
