// Between the projections and attention: heads are normalised and rotated, keys and values go into the caches. A warp
// has one head of one token.
#include <cuda_fp16.h>

#include "kernels.cuh"

namespace etggml::cuda {
namespace {

constexpr int kHeadsPerBlock = 4;
constexpr int kMaxHeadDim = 256;

struct Params {
  struct Input {
    const float* x;
    const float* gain;
    int64_t token_stride;
    float eps;
    bool norm, rotate;
  };
  Input q, k, v;
  float* q_out;
  void *k_cache, *v_cache;
  const void* rows;
  const int32_t *positions, *q_positions;
  const float* factors;
  int head_dim, q_heads, kv_heads, tokens, q_tokens, n_dims;
  bool neox, wide_rows, half_cache;
  float log2_base, freq_scale, attn_factor;
  bool overlaps_next;
};

/// The angle of pair i: position * scale * base^(-2 i / n_dims) / factor.
__device__ __forceinline__ void rotate(const Params& p, int position, int i, float a, float b, float* x, float* y) {
  float theta =
      static_cast<float>(position) * exp2f(-2.0f * static_cast<float>(i) / static_cast<float>(p.n_dims) * p.log2_base);
  if (p.factors != nullptr) theta /= __ldg(p.factors + i);
  float sine, cosine;
  sincosf(theta * p.freq_scale, &sine, &cosine);
  sine *= p.attn_factor;
  cosine *= p.attn_factor;
  *x = a * cosine - b * sine;
  *y = a * sine + b * cosine;
}

__global__ void heads_kernel(const Params p) {
  __shared__ float memory[kHeadsPerBlock][kMaxHeadDim];
  const int warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp, d = p.head_dim;
  float* head = memory[warp];
  int job = blockIdx.x * kHeadsPerBlock + warp;
  allow_next(p.overlaps_next);
  wait_previous();
  const int q_jobs = p.q_heads * p.q_tokens, kv_jobs = p.kv_heads * p.tokens;
  if (job >= q_jobs + 2 * kv_jobs) return;
  const int role = job < q_jobs ? 0 : job < q_jobs + kv_jobs ? 1 : 2;
  if (role > 0) job -= q_jobs;
  if (role > 1) job -= kv_jobs;
  const int heads = role == 0 ? p.q_heads : p.kv_heads, token = job / heads, h = job % heads;
  const Params::Input& in = role == 0 ? p.q : role == 1 ? p.k : p.v;
  const float* x = in.x + token * in.token_stride + static_cast<int64_t>(h) * d;
  // Asked for together: one trip to memory and not four.
  const int position = in.rotate ? __ldcg((role == 0 ? p.q_positions : p.positions) + token) : 0;
  int64_t cache_row = 0;
  if (role > 0)
    cache_row = p.wide_rows ? __ldcg(static_cast<const long long*>(p.rows) + token)
                            : __ldcg(static_cast<const int32_t*>(p.rows) + token);
  float total = 0.0f;
  for (int i = lane; i < d; i += kWarp) {
    const float v = __ldcg(x + i);
    head[i] = v;
    total += v * v;
  }
  if (in.norm) {
    const float scale = rsqrtf(warp_sum(total) / static_cast<float>(d) + in.eps);
    for (int i = lane; i < d; i += kWarp) head[i] *= scale * (in.gain != nullptr ? __ldg(in.gain + i) : 1.0f);
  }
  __syncwarp();
  if (in.rotate) {
    const int half = p.n_dims / 2;
    for (int i = lane; i < half; i += kWarp) {
      const int a = p.neox ? i : 2 * i, b = p.neox ? i + half : 2 * i + 1;
      rotate(p, position, i, head[a], head[b], &head[a], &head[b]);
    }
    __syncwarp();
  }
  if (role == 0) {
    float* out = p.q_out + (static_cast<int64_t>(token) * p.q_heads + h) * d;
    for (int i = lane; i < d; i += kWarp) out[i] = head[i];
    return;
  }
  const int64_t at = (cache_row * p.kv_heads + h) * d;
  void* cache = role == 1 ? p.k_cache : p.v_cache;
  for (int i = lane; i < d; i += kWarp) {
    if (p.half_cache) {
      static_cast<__half*>(cache)[at + i] = __float2half(head[i]);
    } else {
      static_cast<float*>(cache)[at + i] = head[i];
    }
  }
}

Params::Input input(const HeadsCall::Input& in) {
  return {static_cast<const float*>(in.tensor->data) + in.offset,
          in.gain == nullptr ? nullptr : static_cast<const float*>(in.gain->data),
          in.token_stride,
          in.eps,
          in.norm,
          in.rotate};
}

}  // namespace

bool supports_heads(int, const HeadsCall& call) {
  const ggml_type type = call.k_cache->type;
  return call.head_dim <= kMaxHeadDim && call.n_dims <= call.head_dim && call.n_dims % 2 == 0 &&
         type == call.v_cache->type && (type == GGML_TYPE_F16 || type == GGML_TYPE_F32);
}

bool launch_heads(int device, cudaStream_t stream, const HeadsCall& c) {
  Params p = {};
  p.q = input(c.q);
  p.k = input(c.k);
  p.v = input(c.v);
  p.q_out = static_cast<float*>(c.q_out->data);
  p.k_cache = c.k_cache->data;
  p.v_cache = c.v_cache->data;
  p.rows = c.rows->data;
  p.wide_rows = c.rows->type == GGML_TYPE_I64;
  p.positions = c.positions == nullptr ? nullptr : static_cast<const int32_t*>(c.positions->data);
  p.q_positions =
      c.q_positions == nullptr ? nullptr : static_cast<const int32_t*>(c.q_positions->data) + c.q_positions_offset;
  p.factors = c.factors == nullptr ? nullptr : static_cast<const float*>(c.factors->data);
  p.head_dim = c.head_dim;
  p.q_heads = c.q_heads;
  p.kv_heads = c.kv_heads;
  p.tokens = c.tokens;
  p.q_tokens = c.q_tokens;
  p.n_dims = c.n_dims;
  p.neox = c.neox;
  p.half_cache = c.k_cache->type == GGML_TYPE_F16;
  p.log2_base = log2f(c.freq_base);
  p.freq_scale = c.freq_scale;
  p.attn_factor = c.attn_factor;
  p.overlaps_next = c.overlaps_next;
  const int jobs = c.q_heads * c.q_tokens + 2 * c.kv_heads * c.tokens;
  return launch(device, stream, dim3((jobs + kHeadsPerBlock - 1) / kHeadsPerBlock), dim3(kHeadsPerBlock * kWarp), 0,
                heads_kernel, p);
}

}  // namespace etggml::cuda
