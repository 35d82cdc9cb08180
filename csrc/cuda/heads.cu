// Between the projections and attention: heads are normalised and rotated, keys and values go into the caches. A warp
// has one head of one token.
#include <cuda_fp16.h>

#include "head_jobs.cuh"
#include "kernels.cuh"

namespace etggml::cuda {
namespace {

constexpr int kHeadsPerBlock = 4;

struct Params {
  HeadInput q, k, v;
  Rotation rotation;
  float* q_out;
  void *k_cache, *v_cache;
  const void* rows;
  const int32_t *positions, *q_positions;
  int head_dim, q_heads, kv_heads, tokens, q_tokens;
  bool wide_rows, half_cache;
  bool overlaps_next;
};

__global__ void heads_kernel(const Params p) {
  __shared__ float memory[kHeadsPerBlock][kMostHeadDim];
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
  const HeadInput& in = role == 0 ? p.q : role == 1 ? p.k : p.v;
  // Asked for together: one trip to memory and not four.
  HeadJob job_of;
  job_of.load<HeadJob::kEach>(in, token, h, d, lane);
  job_of.prepare<HeadJob::kEach>(in, p.rotation, token, d, role == 0 ? p.q_positions : p.positions, lane);
  int64_t cache_row = 0;
  if (role > 0)
    cache_row = p.wide_rows ? __ldcg(static_cast<const long long*>(p.rows) + token)
                            : __ldcg(static_cast<const int32_t*>(p.rows) + token);
  job_of.store<HeadJob::kEach>(in, p.rotation, d, lane, head);
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

}  // namespace

bool supports_heads(int, const HeadsDesc& desc) {
  const ggml_type type = desc.k_cache->type;
  return desc.head_dim <= kMostHeadDim && desc.n_dims <= desc.head_dim && desc.n_dims % 2 == 0 &&
         type == desc.v_cache->type && (type == GGML_TYPE_F16 || type == GGML_TYPE_F32);
}

bool launch_heads(int device, cudaStream_t stream, const HeadsDesc& c) {
  Params p = {};
  p.q = head_input(c.q);
  p.k = head_input(c.k);
  p.v = head_input(c.v);
  p.rotation = rotation(c);
  p.q_out = static_cast<float*>(c.q_out->data);
  p.k_cache = c.k_cache->data;
  p.v_cache = c.v_cache->data;
  p.rows = c.rows->data;
  p.wide_rows = c.rows->type == GGML_TYPE_I64;
  p.positions = c.positions == nullptr ? nullptr : static_cast<const int32_t*>(c.positions->data);
  p.q_positions =
      c.q_positions == nullptr ? nullptr : static_cast<const int32_t*>(c.q_positions->data) + c.q_positions_offset;
  p.head_dim = c.head_dim;
  p.q_heads = c.q_heads;
  p.kv_heads = c.kv_heads;
  p.tokens = c.tokens;
  p.q_tokens = c.q_tokens;
  p.half_cache = c.k_cache->type == GGML_TYPE_F16;
  p.overlaps_next = c.overlaps_next;
  const int jobs = c.q_heads * c.q_tokens + 2 * c.kv_heads * c.tokens;
  return launch(device, stream, dim3((jobs + kHeadsPerBlock - 1) / kHeadsPerBlock), dim3(kHeadsPerBlock * kWarp), 0,
                heads_kernel, p);
}

}  // namespace etggml::cuda
