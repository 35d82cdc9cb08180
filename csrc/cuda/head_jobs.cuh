// A head of a projection: normalised and rotated by a warp, in shared memory.
#pragma once

#include "fusion/descriptors.h"
#include "launch.cuh"

namespace etggml::cuda {

struct HeadInput {
  const float* x;
  const float* gain;
  int64_t token_stride;
  float eps;
  bool norm, rotate;
};

struct Rotation {
  const float* factors;
  int n_dims;
  bool neox;
  float log2_base, freq_scale, attn_factor;
};

inline HeadInput head_input(const HeadsDesc::Input& in) {
  return {static_cast<const float*>(in.tensor->data) + in.offset,
          in.gain == nullptr ? nullptr : static_cast<const float*>(in.gain->data),
          in.token_stride,
          in.eps,
          in.norm,
          in.rotate};
}

inline Rotation rotation(const HeadsDesc& c) {
  return {c.factors == nullptr ? nullptr : static_cast<const float*>(c.factors->data),
          c.n_dims,
          c.neox,
          log2f(c.freq_base),
          c.freq_scale,
          c.attn_factor};
}

constexpr int kMostHeadDim = 256;

/// A head of a token: values are asked for, then angles are computed while they come. Element i of a lane is
/// lane + 32 i.
struct HeadJob {
  static constexpr int kEach = kMostHeadDim / kWarp;
  float x[kEach], gain[kEach], cosine[kEach / 2], sine[kEach / 2];

  /// The results of the projections; `Each`: elements of a lane, rounded up.
  template <int Each>
  __device__ __forceinline__ void load(const HeadInput& in, int token, int h, int d, int lane) {
    const float* from = in.x + token * in.token_stride + static_cast<int64_t>(h) * d;
#pragma unroll
    for (int i = 0; i < Each; ++i) {
      const int at = lane + i * kWarp;
      x[i] = at < d ? __ldcg(from + at) : 0.0f;
    }
  }
  /// Everything else: gains and angles.
  template <int Each>
  __device__ __forceinline__ void prepare(const HeadInput& in, const Rotation& r, int token, int d,
                                          const int32_t* positions, int lane) {
    const int position = in.rotate ? __ldcg(positions + token) : 0;
#pragma unroll
    for (int i = 0; i < Each; ++i) {
      const int at = lane + i * kWarp;
      gain[i] = in.norm && in.gain != nullptr && at < d ? __ldg(in.gain + at) : 1.0f;
    }
    if (!in.rotate) return;
      // Pair i: its angle is position * scale * base^(-2 i / n_dims) / factor.
#pragma unroll
    for (int i = 0; i < (Each + 1) / 2; ++i) {
      const int pair = lane + i * kWarp;
      float theta = static_cast<float>(position) *
                    exp2f(-2.0f * static_cast<float>(pair) / static_cast<float>(r.n_dims) * r.log2_base);
      if (r.factors != nullptr && pair < r.n_dims / 2) theta /= __ldg(r.factors + pair);
      sincosf(theta * r.freq_scale, &sine[i], &cosine[i]);
      sine[i] *= r.attn_factor;
      cosine[i] *= r.attn_factor;
    }
  }
  /// Into `head`, `d` floats of shared memory. By a whole warp.
  template <int Each>
  __device__ __forceinline__ void store(const HeadInput& in, const Rotation& r, int d, int lane, float* head) {
    if (in.norm) {
      float total = 0.0f;
#pragma unroll
      for (int i = 0; i < Each; ++i) total += x[i] * x[i];
      const float scale = rsqrtf(warp_sum(total) / static_cast<float>(d) + in.eps);
#pragma unroll
      for (int i = 0; i < Each; ++i) x[i] *= scale * gain[i];
    }
#pragma unroll
    for (int i = 0; i < Each; ++i)
      if (lane + i * kWarp < d) head[lane + i * kWarp] = x[i];
    __syncwarp();
    if (!in.rotate) return;
    const int half = r.n_dims / 2;
#pragma unroll
    for (int i = 0; i < (Each + 1) / 2; ++i) {
      const int pair = lane + i * kWarp;
      if (pair >= half) continue;
      const int a = r.neox ? pair : 2 * pair, b = r.neox ? pair + half : 2 * pair + 1;
      const float u = head[a], v = head[b];
      head[a] = u * cosine[i] - v * sine[i];
      head[b] = u * sine[i] + v * cosine[i];
    }
    __syncwarp();
  }
};

}  // namespace etggml::cuda
