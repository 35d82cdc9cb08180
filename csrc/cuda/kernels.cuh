// The kernels by call: the interface of each file for module.cu.
#pragma once

#include "fusion/calls.h"
#include "launch.cuh"

namespace etggml::cuda {

bool supports_matvec(int device, const MatVecCall& call);
bool launch_matvec(int device, cudaStream_t stream, const MatVecCall& call);
bool supports_heads(int device, const HeadsCall& call);
bool launch_heads(int device, cudaStream_t stream, const HeadsCall& call);
bool supports_attention(int device, const AttentionCall& call);
bool launch_attention(int device, cudaStream_t stream, const AttentionCall& call);
bool supports_heads_attention(int device, const HeadsAttentionCall& call);
bool launch_heads_attention(int device, cudaStream_t stream, const HeadsAttentionCall& call);
bool launch_causal_mask(int device, cudaStream_t stream, const CausalMaskCall& call);
bool launch_argmax(int device, cudaStream_t stream, const ArgmaxCall& call);
bool launch_sample(int device, cudaStream_t stream, const SampleCall& call);

}  // namespace etggml::cuda
