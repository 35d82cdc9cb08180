// A few queries on a long cache. The keys are split over blocks, so that one token fills the chip. A block serves all
// query heads of its key head, so that keys and values are read once. Each group of lanes that holds a key's D values
// keeps its own running maximum and sum. The block merges them; the block that ends last merges those of all blocks.
#include <cuda_fp16.h>

#include "attention_math.cuh"
#include "kernels.cuh"

namespace etggml::cuda {
namespace {

/// Of a block: their merged data must fit its shared memory, and their own data its registers.
__host__ __device__ constexpr int warps(int head_dim, int group) { return head_dim > 128 || group > 2 ? 8 : 16; }
constexpr int kLoads = 4;        // 16-byte loads of keys, and of values, in flight for each lane
constexpr int kLeastKeys = 256;  // of a split: below it, merging with another block costs more than it saves
// Beyond, a step with ggml's own kernel is faster (H200, 0.6B: by 1.10 at 512 positions; at 256 slower by 1.04).
constexpr int64_t kMostKeys = 256;

struct Params {
  const float* q;
  const __half *k, *v, *mask;
  float *out, *partial;
  unsigned* counters;
  int64_t k_row, v_row, k_head, v_head, n_kv;
  int heads, kv_heads, group, splits, keys_per_split;
  float scale, softcap;
  bool overlaps_next;
};

template <int D, int G>
struct Running {
  float m[G], l[G], acc[G][8];
};

/// One step of a lane's group: kLoads keys against G queries.
template <int D, int G, bool Softcap>
__device__ __forceinline__ void step(const Params& p, const float (&q)[G][8], const uint4 (&k)[kLoads],
                                     const uint4 (&v)[kLoads], const float (&mask)[kLoads], Running<D, G>& r) {
  constexpr int kLanes = D / 8;
  float s[G][kLoads];
#pragma unroll
  for (int u = 0; u < kLoads; ++u) {
    float key[8];
    unpack(k[u], key);
#pragma unroll
    for (int g = 0; g < G; ++g) {
      float dot = 0.0f;
#pragma unroll
      for (int i = 0; i < 8; ++i) dot = fmaf(q[g][i], key[i], dot);
#pragma unroll
      for (int offset = kLanes / 2; offset > 0; offset /= 2) dot += __shfl_xor_sync(0xffffffffu, dot, offset);
      if constexpr (Softcap) dot = p.softcap * kLog2E * tanhf(dot / p.softcap);
      s[g][u] = dot + mask[u];
    }
  }
#pragma unroll
  for (int g = 0; g < G; ++g) {
    float largest = r.m[g];
#pragma unroll
    for (int u = 0; u < kLoads; ++u) largest = fmaxf(largest, s[g][u]);
    const float shrink = relative(r.m[g], largest);
    r.m[g] = largest;
    r.l[g] *= shrink;
#pragma unroll
    for (int i = 0; i < 8; ++i) r.acc[g][i] *= shrink;
#pragma unroll
    for (int u = 0; u < kLoads; ++u) {
      s[g][u] = relative(s[g][u], largest);
      r.l[g] += s[g][u];
    }
  }
#pragma unroll
  for (int u = 0; u < kLoads; ++u) {
    float value[8];
    unpack(v[u], value);
#pragma unroll
    for (int g = 0; g < G; ++g) {
#pragma unroll
      for (int i = 0; i < 8; ++i) r.acc[g][i] = fmaf(s[g][u], value[i], r.acc[g][i]);
    }
  }
}

template <int D, int G, bool Softcap>
__global__ void __launch_bounds__(warps(D, G) * kWarp, 1) attention_kernel(const Params p) {
  constexpr int kLanes = D / 8, kAtOnce = kWarp / kLanes, kWarpsPerBlock = warps(D, G), kBlock = kWarpsPerBlock * kWarp;
  __shared__ float merged_m[kWarpsPerBlock][G], merged_l[kWarpsPerBlock][G], merged_acc[kWarpsPerBlock][G][D];
  __shared__ float weights[kWarpsPerBlock][G], block_m[G], block_l[G];
  __shared__ bool last;
  const int warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp, sub = lane / kLanes, key_lane = lane % kLanes;
  const int split = blockIdx.x, token = blockIdx.z;
  const int first_head = blockIdx.y * G, kv_head = first_head / p.group;
  allow_next(p.overlaps_next);
  wait_previous();

  float q[G][8];
#pragma unroll
  for (int g = 0; g < G; ++g) {
    const float* from = p.q + (static_cast<int64_t>(token) * p.heads + first_head + g) * D + key_lane * 8;
#pragma unroll
    for (int i = 0; i < 8; ++i) q[g][i] = __ldcg(from + i) * (Softcap ? p.scale : p.scale * kLog2E);
  }
  Running<D, G> r;
#pragma unroll
  for (int g = 0; g < G; ++g) {
    r.m[g] = -INFINITY;
    r.l[g] = 0.0f;
#pragma unroll
    for (int i = 0; i < 8; ++i) r.acc[g][i] = 0.0f;
  }
  const int64_t begin = static_cast<int64_t>(split) * p.keys_per_split;
  const int64_t end = min(begin + p.keys_per_split, p.n_kv);
  const __half* keys = p.k + kv_head * p.k_head + key_lane * 8;
  const __half* values = p.v + kv_head * p.v_head + key_lane * 8;
  constexpr int kTile = kLoads * kAtOnce;
#pragma unroll 1
  for (int64_t tile = begin + warp * kTile; tile < end; tile += kWarpsPerBlock * kTile) {
    uint4 k[kLoads], v[kLoads];
    float mask[kLoads];
    bool any = false;
#pragma unroll
    for (int u = 0; u < kLoads; ++u) {
      const int64_t key = tile + u * kAtOnce + sub;
      k[u] = v[u] = make_uint4(0, 0, 0, 0);
      mask[u] = -INFINITY;
      if (key < end) {
        k[u] = __ldcg(reinterpret_cast<const uint4*>(keys + key * p.k_row));
        v[u] = __ldcg(reinterpret_cast<const uint4*>(values + key * p.v_row));
        mask[u] = p.mask == nullptr ? 0.0f : __half2float(__ldcg(p.mask + token * p.n_kv + key)) * kLog2E;
      }
      any = any || mask[u] != -INFINITY;
    }
    if (!__any_sync(0xffffffffu, any)) continue;
#pragma unroll
    for (int u = 0; u < kLoads; ++u) {
      // Memory that is not written yet may hold anything; zero times that must stay zero.
      if (mask[u] == -INFINITY) k[u] = v[u] = make_uint4(0, 0, 0, 0);
    }
    step<D, G, Softcap>(p, q, k, v, mask, r);
  }

  // The groups of lanes of a warp first, then the warps.
#pragma unroll
  for (int g = 0; g < G; ++g) {
#pragma unroll
    for (int offset = kLanes; offset < kWarp; offset *= 2) {
      const float other = __shfl_xor_sync(0xffffffffu, r.m[g], offset), m = fmaxf(r.m[g], other);
      const float weight = relative(r.m[g], m);
      r.m[g] = m;
      r.l[g] *= weight;
      r.l[g] += __shfl_xor_sync(0xffffffffu, r.l[g], offset);
#pragma unroll
      for (int i = 0; i < 8; ++i) {
        r.acc[g][i] *= weight;
        r.acc[g][i] += __shfl_xor_sync(0xffffffffu, r.acc[g][i], offset);
      }
    }
    if (lane == 0) {
      merged_m[warp][g] = r.m[g];
      merged_l[warp][g] = r.l[g];
    }
    if (sub == 0) {
#pragma unroll
      for (int i = 0; i < 8; ++i) merged_acc[warp][g][key_lane * 8 + i] = r.acc[g][i];
    }
  }
  __syncthreads();
  if (threadIdx.x < kWarpsPerBlock * G) {
    const int g = threadIdx.x / kWarpsPerBlock, w = threadIdx.x % kWarpsPerBlock;
    float m = merged_m[w][g];
#pragma unroll
    for (int offset = kWarpsPerBlock / 2; offset > 0; offset /= 2)
      m = fmaxf(m, __shfl_xor_sync(__activemask(), m, offset));
    const float weight = relative(merged_m[w][g], m);
    float l = weight * merged_l[w][g];
#pragma unroll
    for (int offset = kWarpsPerBlock / 2; offset > 0; offset /= 2) l += __shfl_xor_sync(__activemask(), l, offset);
    weights[w][g] = weight;
    if (w == 0) {
      block_m[g] = m;
      block_l[g] = l;
    }
  }
  __syncthreads();
  const int64_t row = static_cast<int64_t>(token) * p.heads + first_head;  // of the first of our query heads
#pragma unroll 1
  for (int i = threadIdx.x; i < G * D; i += kBlock) {
    const int g = i / D, d = i % D;
    float acc = 0.0f;
#pragma unroll
    for (int w = 0; w < kWarpsPerBlock; ++w) acc += weights[w][g] * merged_acc[w][g][d];
    if (p.splits == 1) {
      p.out[(row + g) * D + d] = acc / block_l[g];
    } else {
      float* to = p.partial + ((row + g) * kMaxSplits + split) * (D + 2);
      to[d] = acc;
      if (d == 0) {
        to[D] = block_m[g];
        to[D + 1] = block_l[g];
      }
    }
  }
  if (p.splits == 1) return;
  __threadfence();
  __syncthreads();
  unsigned* counter = p.counters + row;
  if (threadIdx.x == 0) last = atomicAdd(counter, 1) == static_cast<unsigned>(p.splits) - 1;
  __syncthreads();
  if (!last) return;
  __threadfence();
#pragma unroll 1
  for (int i = threadIdx.x; i < G * D; i += kBlock) {
    const int g = i / D, d = i % D;
    const float* from = p.partial + (row + g) * kMaxSplits * (D + 2);
    float m = -INFINITY, l = 0.0f, acc = 0.0f;
    for (int s = 0; s < p.splits; ++s) m = fmaxf(m, __ldcg(from + s * (D + 2) + D));
#pragma unroll 4
    for (int s = 0; s < p.splits; ++s) {
      const float weight = relative(__ldcg(from + s * (D + 2) + D), m);
      l += weight * __ldcg(from + s * (D + 2) + D + 1);
      acc += weight * __ldcg(from + s * (D + 2) + d);
    }
    p.out[(row + g) * D + d] = acc / l;
  }
  if (threadIdx.x == 0) *counter = 0;
}

/// Query heads a block serves: the most that divide those of a key head.
int group_of(const AttentionDesc& c) {
  const int group = c.q_heads / c.kv_heads;
  return group % 4 == 0 ? 4 : group % 2 == 0 ? 2 : 1;
}

template <int D>
bool launch_dim(int device, cudaStream_t stream, const Params& p, dim3 grid, int group) {
  auto* kernel = group == 4   ? attention_kernel<D, 4, false>
                 : group == 2 ? attention_kernel<D, 2, false>
                              : attention_kernel<D, 1, false>;
  if (p.softcap > 0.0f)
    kernel = group == 4   ? attention_kernel<D, 4, true>
             : group == 2 ? attention_kernel<D, 2, true>
                          : attention_kernel<D, 1, true>;
  return launch(device, stream, grid, dim3(warps(D, group) * kWarp), 0, kernel, p);
}

bool aligned(int64_t elements) { return elements % 8 == 0; }

}  // namespace

bool supports_attention(int, const AttentionDesc& c) {
  return c.n_kv <= kMostKeys && (c.head_dim == 64 || c.head_dim == 128 || c.head_dim == 256) &&
         c.k_cache->type == GGML_TYPE_F16 && c.v_cache->type == GGML_TYPE_F16 && c.q_heads % c.kv_heads == 0 &&
         aligned(c.k_offset) && aligned(c.v_offset) && aligned(c.k_row_stride) && aligned(c.v_row_stride) &&
         aligned(c.k_head_stride) && aligned(c.v_head_stride);
}

bool launch_attention(int device, cudaStream_t stream, const AttentionDesc& c) {
  const int group = group_of(c), groups = c.q_heads / group;
  const int64_t wanted = multiprocessors(device) / (groups * c.tokens);
  const int64_t most = c.n_kv / kLeastKeys;
  int64_t splits = wanted < most ? wanted : most;
  splits = splits < 1 ? 1 : splits > kMaxSplits ? kMaxSplits : splits;
  constexpr int64_t kWhole = 64;  // keys: about one step of a block's warps
  const int64_t keys = ((c.n_kv + splits - 1) / splits + kWhole - 1) / kWhole * kWhole;
  splits = (c.n_kv + keys - 1) / keys;
  Params p = {};
  p.q = static_cast<const float*>(c.q->data);
  p.k = static_cast<const __half*>(c.k_cache->data) + c.k_offset;
  p.v = static_cast<const __half*>(c.v_cache->data) + c.v_offset;
  p.mask = c.mask == nullptr ? nullptr : static_cast<const __half*>(c.mask->data);
  p.out = static_cast<float*>(c.out->data);
  p.partial = static_cast<float*>(c.scratch->data);
  p.counters = reinterpret_cast<unsigned*>(p.partial +
                                           static_cast<int64_t>(c.q_heads) * c.tokens * kMaxSplits * (c.head_dim + 2));
  p.k_row = c.k_row_stride;
  p.v_row = c.v_row_stride;
  p.k_head = c.k_head_stride;
  p.v_head = c.v_head_stride;
  p.n_kv = c.n_kv;
  p.heads = c.q_heads;
  p.kv_heads = c.kv_heads;
  p.group = c.q_heads / c.kv_heads;
  p.splits = static_cast<int>(splits);
  p.keys_per_split = static_cast<int>(keys);
  p.scale = c.scale;
  p.softcap = c.softcap;
  p.overlaps_next = c.overlaps_next;
  const dim3 grid(static_cast<unsigned>(splits), static_cast<unsigned>(groups), static_cast<unsigned>(c.tokens));
  return c.head_dim == 64    ? launch_dim<64>(device, stream, p, grid, group)
         : c.head_dim == 128 ? launch_dim<128>(device, stream, p, grid, group)
                             : launch_dim<256>(device, stream, p, grid, group);
}

}  // namespace etggml::cuda
