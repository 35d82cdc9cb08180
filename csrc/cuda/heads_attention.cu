// Heads and attention in one kernel, for a few queries on a cache that a cluster of blocks has in its shared memory: a
// cluster serves the query heads of one key head, each of its blocks a part of the keys. Keys and values of earlier
// steps are asked for before the kernel waits for the projections; the rows of this step are put among them by the
// block that has their place, which also writes them to the caches. Blocks send each other their sums and each finishes
// a part.
#include <cooperative_groups.h>
#include <cuda_fp16.h>

#include <algorithm>

#include "attention_math.cuh"
#include "copy.cuh"
#include "head_jobs.cuh"
#include "kernels.cuh"

namespace etggml::cuda {
namespace {

constexpr int kClusterSize = 8, kBlockWarps = 8, kBlock = kBlockWarps * kWarp;
constexpr int kMostQueries = 32;  // of a cluster: query heads of a key head, times tokens
constexpr int kAtOnce = 4;        // queries that a thread has in its registers
constexpr int64_t kMostKeys = 512;

struct Params {
  HeadInput q, k, v;
  Rotation rotation;
  const void* rows;
  const int32_t *positions, *q_positions;
  __half *k_cache, *v_cache;
  const __half* mask;
  float* out;
  int64_t n_kv;
  int heads, kv_heads, group, tokens;
  int parts, queries, keys;  // clusters of a key head; of a cluster; of a block
  float scale, softcap;
  bool wide_rows, overlaps_next;
};

/// Shared memory of a block, in floats and halves.
template <int D>
struct Memory {
  __half *k, *v;      // [keys][D]
  float* q;           // [queries][D]
  float* fresh;       // [2 tokens][D]: this step's keys and values
  float* weights;     // [keys][queries, padded]: scores, then weights
  float* mask;        // [tokens][keys]
  float* sums;        // [2][queries]: largest score and sum of weights
  float* part;        // [kBlockWarps][...]: partial outputs of warps
  float* of_others;   // [kClusterSize][share]: what the cluster sends for this block's part
  float* their_sums;  // [kClusterSize][2][queries]
  size_t bytes;
  __host__ __device__ Memory(uint8_t* base, int keys, int queries, int tokens) {
    size_t at = 0;
    auto take = [&](size_t count) {
      const size_t from = at;
      at += (count + 15) / 16 * 16;
      return base + from;
    };
    const int padded = (queries + kAtOnce - 1) / kAtOnce * kAtOnce;
    k = reinterpret_cast<__half*>(take(static_cast<size_t>(keys) * D * 2));
    v = reinterpret_cast<__half*>(take(static_cast<size_t>(keys) * D * 2));
    q = reinterpret_cast<float*>(take(static_cast<size_t>(padded) * D * 4));
    fresh = reinterpret_cast<float*>(take(static_cast<size_t>(tokens) * 2 * D * 4));
    weights = reinterpret_cast<float*>(take(static_cast<size_t>(keys) * padded * 4));
    mask = reinterpret_cast<float*>(take(static_cast<size_t>(tokens) * keys * 4));
    sums = reinterpret_cast<float*>(take(static_cast<size_t>(queries) * 8));
    part = reinterpret_cast<float*>(take(static_cast<size_t>(kBlock) * 2 * kAtOnce * 4));
    of_others = reinterpret_cast<float*>(take(static_cast<size_t>(queries) * D * 4));
    their_sums = reinterpret_cast<float*>(take(static_cast<size_t>(queries) * 8 * kClusterSize));
    bytes = at;
  }
};

template <int D>
__global__ void __launch_bounds__(kBlock) heads_attention_kernel(const __grid_constant__ Params p) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  namespace cg = cooperative_groups;
  extern __shared__ __align__(128) uint8_t shared[];
  const Memory<D> m(shared, p.keys, p.queries, p.tokens);
  cg::cluster_group cluster = cg::this_cluster();
  const int rank = static_cast<int>(blockIdx.x), kv_head = static_cast<int>(blockIdx.y) / p.parts;
  const int base = (static_cast<int>(blockIdx.y) - kv_head * p.parts) * p.queries;  // the cluster's first query
  const int warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp;
  const int begin = rank * p.keys, here = max(0, min(p.keys, static_cast<int>(p.n_kv) - begin));
  const int padded = (p.queries + kAtOnce - 1) / kAtOnce * kAtOnce;
  const int64_t row_elements = static_cast<int64_t>(p.kv_heads) * D;
  allow_next(p.overlaps_next);
  cluster.barrier_arrive();  // waited for before others' memory is written: they have begun by then
  {
    constexpr int kPieces = D / 8;  // of 16 bytes in a key
    const __half* from_k = p.k_cache + begin * row_elements + kv_head * D;
    const __half* from_v = p.v_cache + begin * row_elements + kv_head * D;
    for (int i = threadIdx.x; i < here * kPieces; i += kBlock) {
      const int key = i / kPieces, piece = i % kPieces;
      copy_async<16>(m.k + i * 8, from_k + key * row_elements + piece * 8);
      copy_async<16>(m.v + i * 8, from_v + key * row_elements + piece * 8);
    }
    commit_copies();
  }
  wait_previous();

  // Asked for first, used last: every trip to memory costs as much as a phase.
  const long long own_row = lane >= p.tokens ? -1
                            : p.wide_rows    ? __ldcg(static_cast<const long long*>(p.rows) + lane)
                                             : __ldcg(static_cast<const int32_t*>(p.rows) + lane);
  auto mask_at = [&](int i) {
    const int token = i / p.keys, key = i - token * p.keys;
    if (key >= here) return -INFINITY;
    return p.mask == nullptr ? 0.0f : __half2float(__ldcg(p.mask + token * p.n_kv + begin + key));
  };
  const int masks = p.tokens * p.keys;
  const float own_mask = static_cast<int>(threadIdx.x) < masks ? mask_at(threadIdx.x) : 0.0f;
  const auto has_rows = [&] { return __any_sync(0xffffffffu, own_row >= begin && own_row < begin + p.keys); };
  // Queries are everybody's. Keys and values of this step are of use to the block that has their row alone, but where
  // there are warps enough nobody waits to know.
  const bool few = p.queries + 2 * p.tokens <= kBlockWarps;
  const int jobs = p.queries + (few || has_rows() ? 2 * p.tokens : 0);
  for (int job = warp; job < jobs; job += kBlockWarps) {
    const bool query = job < p.queries, value = !query && (job - p.queries) % 2 != 0;
    const HeadInput& in = query ? p.q : value ? p.v : p.k;
    const int token = query ? (base + job) / p.group : (job - p.queries) / 2;
    HeadJob head;
    head.template load<D / kWarp>(in, p.rotation, token, query ? kv_head * p.group + (base + job) % p.group : kv_head,
                                  D, query ? p.q_positions : p.positions, lane);
    head.template store<D / kWarp>(in, p.rotation, D, lane, query ? m.q + job * D : m.fresh + (job - p.queries) * D);
  }
  for (int i = threadIdx.x; i < masks; i += kBlock)
    m.mask[i] = i == static_cast<int>(threadIdx.x) ? own_mask : mask_at(i);
  const bool mine = has_rows();
  wait_copies<0>();
  __syncthreads();
  if (mine) {
    for (int i = threadIdx.x; i < 2 * p.tokens * D; i += kBlock) {
      const bool value = i / D % 2 != 0;
      const long long row = __shfl_sync(0xffffffffu, own_row, i / (2 * D));
      if (row < begin || row >= begin + p.keys) continue;
      const __half h = __float2half(m.fresh[i]);
      (value ? m.v : m.k)[(row - begin) * D + i % D] = h;
      if (base == 0) (value ? p.v_cache : p.k_cache)[row * row_elements + kv_head * D + i % D] = h;
    }
    __syncthreads();
  }

  // Scores: kLanes lanes have a key, each of them every kLanes-th piece of 16 bytes.
  constexpr int kLanes = D / 16, kKeysAtOnce = kBlock / kLanes;
  const int part = threadIdx.x % kLanes;
  for (int at = threadIdx.x / kLanes; at - static_cast<int>(threadIdx.x) / kLanes < here; at += kKeysAtOnce) {
    const int key = min(at, p.keys - 1);
    float k[2][8];
#pragma unroll
    for (int i = 0; i < 2; ++i) unpack(reinterpret_cast<const uint4*>(m.k + key * D)[part + i * kLanes], k[i]);
#pragma unroll 2
    for (int query = 0; query < p.queries; ++query) {
      float dot = 0.0f;
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        const float4* q = reinterpret_cast<const float4*>(m.q + query * D + (part + i * kLanes) * 8);
        const float4 a = q[0], b = q[1];
        dot = fmaf(a.x, k[i][0], fmaf(a.y, k[i][1], fmaf(a.z, k[i][2], fmaf(a.w, k[i][3], dot))));
        dot = fmaf(b.x, k[i][4], fmaf(b.y, k[i][5], fmaf(b.z, k[i][6], fmaf(b.w, k[i][7], dot))));
      }
#pragma unroll
      for (int offset = kLanes / 2; offset > 0; offset /= 2) dot += __shfl_xor_sync(0xffffffffu, dot, offset);
      if (part != 0 || at >= here) continue;
      const float bias = m.mask[(base + query) / p.group * p.keys + key];
      float s = dot * p.scale;
      if (p.softcap > 0.0f) s = p.softcap * tanhf(s / p.softcap);
      // What nobody has written yet may be anything.
      m.weights[key * padded + query] = bias == -INFINITY ? -INFINITY : (s + bias) * kLog2E;
    }
  }
  __syncthreads();
  for (int query = warp; query < padded; query += kBlockWarps) {
    float largest = -INFINITY;
    for (int key = lane; key < here && query < p.queries; key += kWarp)
      largest = fmaxf(largest, m.weights[key * padded + query]);
#pragma unroll
    for (int offset = 16; offset > 0; offset /= 2)
      largest = fmaxf(largest, __shfl_xor_sync(0xffffffffu, largest, offset));
    float total = 0.0f;
    for (int key = lane; key < here; key += kWarp) {
      const float w = query < p.queries ? relative(m.weights[key * padded + query], largest) : 0.0f;
      m.weights[key * padded + query] = w;
      total += w;
    }
    total = warp_sum(total);
    if (lane == 0 && query < p.queries) {
      m.sums[query] = largest;
      m.sums[p.queries + query] = total;
    }
  }
  __syncthreads();
  cluster.barrier_wait();
  // Everybody's largest scores and sums.
  for (int i = threadIdx.x; i < kClusterSize * 2 * p.queries; i += kBlock) {
    const int to = i / (2 * p.queries), at = i % (2 * p.queries);
    cluster.map_shared_rank(m.their_sums, to)[rank * 2 * p.queries + at] = m.sums[at];
  }

  // Weighted values: a thread has two neighbouring elements of kAtOnce queries and every kParts-th key.
  constexpr int kColumns = D / 2, kParts = kBlock / kColumns;
  const int column = threadIdx.x % kColumns, key_part = threadIdx.x / kColumns;
  const int share = p.queries * D / kClusterSize;  // elements that a block finishes
  for (int first = 0; first < p.queries; first += kAtOnce) {
    float acc[kAtOnce][2] = {};
#pragma unroll 4
    for (int key = key_part; key < here; key += kParts) {
      const float4 w = *reinterpret_cast<const float4*>(m.weights + key * padded + first);
      if (w.x == 0.0f && w.y == 0.0f && w.z == 0.0f && w.w == 0.0f) continue;  // zero times anything
      const float2 v = __half22float2(reinterpret_cast<const half2*>(m.v + key * D)[column]);
      const float of[kAtOnce] = {w.x, w.y, w.z, w.w};
#pragma unroll
      for (int g = 0; g < kAtOnce; ++g) {
        acc[g][0] = fmaf(of[g], v.x, acc[g][0]);
        acc[g][1] = fmaf(of[g], v.y, acc[g][1]);
      }
    }
    if (first > 0) __syncthreads();
#pragma unroll
    for (int g = 0; g < kAtOnce; ++g)
      reinterpret_cast<float2*>(m.part)[(key_part * kAtOnce + g) * kColumns + column] =
          make_float2(acc[g][0], acc[g][1]);
    __syncthreads();
    for (int i = threadIdx.x; i < kAtOnce * D; i += kBlock) {
      const int query = first + i / D;
      if (query >= p.queries) break;
      float sum = 0.0f;
#pragma unroll
      for (int part = 0; part < kParts; ++part) sum += m.part[part * kAtOnce * D + i];
      const int element = query * D + i % D;
      cluster.map_shared_rank(m.of_others, element / share)[rank * share + element % share] = sum;
    }
  }
  cluster.sync();
  for (int i = threadIdx.x; i < share; i += kBlock) {
    const int element = rank * share + i, query = element / D;
    float largest = -INFINITY;
#pragma unroll
    for (int r = 0; r < kClusterSize; ++r) largest = fmaxf(largest, m.their_sums[r * 2 * p.queries + query]);
    float total = 0.0f, sum = 0.0f;
#pragma unroll
    for (int r = 0; r < kClusterSize; ++r) {
      const float weight = relative(m.their_sums[r * 2 * p.queries + query], largest);
      total += weight * m.their_sums[(r * 2 + 1) * p.queries + query];
      sum += weight * m.of_others[r * share + i];
    }
    const int token = (base + query) / p.group, head = kv_head * p.group + (base + query) % p.group;
    p.out[(static_cast<int64_t>(token) * p.heads + head) * D + element % D] = sum / total;
  }
#endif
}

/// Clusters that share the queries of a key head: as many as there are multiprocessors for, and divide them.
int parts_of(int device, const AttentionCall& a) {
  const int queries = a.q_heads / a.kv_heads * a.tokens;
  int parts = std::min(queries, multiprocessors(device) / (kClusterSize * a.kv_heads));
  while (parts > 1 && queries % parts != 0) --parts;
  return std::max(parts, 1);
}

int keys_of_block(int64_t n_kv) { return static_cast<int>((n_kv + kClusterSize - 1) / kClusterSize); }

size_t shared_bytes(int device, const HeadsAttentionCall& c) {
  const int keys = keys_of_block(c.attention.n_kv),
            queries = c.attention.q_heads / c.attention.kv_heads * c.attention.tokens / parts_of(device, c.attention);
  const int tokens = c.attention.tokens;
  switch (c.attention.head_dim) {
    case 64:
      return Memory<64>(nullptr, keys, queries, tokens).bytes;
    case 128:
      return Memory<128>(nullptr, keys, queries, tokens).bytes;
    case 256:
      return Memory<256>(nullptr, keys, queries, tokens).bytes;
    default:
      return 0;
  }
}

}  // namespace

bool supports_heads_attention(int device, const HeadsAttentionCall& c) {
  const HeadsCall& h = c.heads;
  const AttentionCall& a = c.attention;
  const int64_t d = a.head_dim;
  if (compute_capability(device) < 90 || (d != 64 && d != 128 && d != 256)) return false;
  // Whole caches of F16, in the order they are written; what heads make of the queries is what attention reads.
  if (h.k_cache->type != GGML_TYPE_F16 || h.v_cache->type != GGML_TYPE_F16 || a.k_cache != h.k_cache ||
      a.v_cache != h.v_cache || a.k_offset != 0 || a.v_offset != 0 || a.k_row_stride != a.kv_heads * d ||
      a.v_row_stride != a.kv_heads * d || a.k_head_stride != d || a.v_head_stride != d) {
    return false;
  }
  if (h.q_out == nullptr || a.q != h.q_out || h.tokens != a.tokens || h.q_tokens != a.tokens || h.n_dims > h.head_dim ||
      h.n_dims % 2 != 0 || a.q_heads % a.kv_heads != 0) {
    return false;
  }
  return a.q_heads / a.kv_heads * a.tokens / parts_of(device, a) <= kMostQueries && a.n_kv <= kMostKeys &&
         shared_bytes(device, c) <= shared_memory_limit(device);
}

bool launch_heads_attention(int device, cudaStream_t stream, const HeadsAttentionCall& c) {
  const HeadsCall& h = c.heads;
  const AttentionCall& a = c.attention;
  Params p = {};
  p.q = head_input(h.q);
  p.k = head_input(h.k);
  p.v = head_input(h.v);
  p.rotation = rotation(h);
  p.rows = h.rows->data;
  p.wide_rows = h.rows->type == GGML_TYPE_I64;
  p.positions = h.positions == nullptr ? nullptr : static_cast<const int32_t*>(h.positions->data);
  p.q_positions =
      h.q_positions == nullptr ? nullptr : static_cast<const int32_t*>(h.q_positions->data) + h.q_positions_offset;
  p.k_cache = static_cast<__half*>(h.k_cache->data);
  p.v_cache = static_cast<__half*>(h.v_cache->data);
  p.mask = a.mask == nullptr ? nullptr : static_cast<const __half*>(a.mask->data);
  p.out = static_cast<float*>(a.out->data);
  p.n_kv = a.n_kv;
  p.heads = a.q_heads;
  p.kv_heads = a.kv_heads;
  p.group = a.q_heads / a.kv_heads;
  p.tokens = a.tokens;
  p.parts = parts_of(device, a);
  p.queries = p.group * p.tokens / p.parts;
  p.keys = keys_of_block(a.n_kv);
  p.scale = a.scale;
  p.softcap = a.softcap;
  p.overlaps_next = c.overlaps_next;
  auto* kernel = a.head_dim == 64    ? heads_attention_kernel<64>
                 : a.head_dim == 128 ? heads_attention_kernel<128>
                                     : heads_attention_kernel<256>;
  return launch_clusters(device, stream, dim3(kClusterSize, static_cast<unsigned>(a.kv_heads * p.parts)), dim3(kBlock),
                         shared_bytes(device, c), kClusterSize, kernel, p);
}

}  // namespace etggml::cuda
