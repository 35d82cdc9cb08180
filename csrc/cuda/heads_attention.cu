// Norm, RoPE, cache writes and attention in one kernel, for a few queries, with the cache in the shared memory of a
// cluster of blocks. A cluster serves the query heads of one key head, and each of its blocks a part of the keys. Keys
// and values of earlier steps are requested before the kernel waits for the projections. The rows of this step are
// added by the block at their place, which also writes them to the caches. Blocks send each other their sums, and each
// finishes a part.
#include <algorithm>

#include "cluster_attention.cuh"
#include "copy.cuh"
#include "fusion/whole_caches.h"
#include "kernels.cuh"

namespace etggml::cuda {
namespace {

constexpr int64_t kMostKeys = kMostKeysOfBlock * kClusterSize;

template <int D, int H = D>
__global__ void __launch_bounds__(kBlock) heads_attention_kernel(const __grid_constant__ ClusterParams p) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  extern __shared__ __align__(128) uint8_t shared[];
  const ClusterMemory<D> m(shared, p.keys, p.queries, p.tokens);
  cooperative_groups::cluster_group cluster = cooperative_groups::this_cluster();
  const int rank = static_cast<int>(blockIdx.x), kv_head = static_cast<int>(blockIdx.y) / p.parts;
  const int base = (static_cast<int>(blockIdx.y) - kv_head * p.parts) * p.queries;
  const int warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp;
  const int begin = rank * p.keys, here = max(0, min(p.keys, static_cast<int>(p.n_kv) - begin));
  const ClusterBlock<D, H> block{p, m, rank, kv_head, base, here, ClusterMemory<D>::padded(p.keys)};
  const int64_t row_elements = static_cast<int64_t>(p.kv_heads) * H;
  allow_next(p.overlaps_next);
  cluster.barrier_arrive();  // waited for before others' memory is written: they have begun by then
  {
    constexpr int kPieces = H / 8;  // of 16 bytes in a key
    const __half* from_k = p.k_cache + begin * row_elements + kv_head * H;
    const __half* from_v = p.v_cache + begin * row_elements + kv_head * H;
    for (int i = threadIdx.x; i < here * kPieces; i += kBlock) {
      const int key = i / kPieces, piece = i % kPieces;
      copy_async<16>(m.k + key * D + piece * 8, from_k + key * row_elements + piece * 8);
      copy_async<16>(m.v + key * D + piece * 8, from_v + key * row_elements + piece * 8);
    }
    commit_copies();
  }
  for (int i = threadIdx.x; i < p.queries; i += kBlock) m.tokens[i] = (base + i) / p.group;

  // A warp's jobs: queries are everybody's. Keys and values of this step are of use to the block that has their row
  // alone, but where there are warps enough nobody waits to know.
  struct Job {
    const HeadInput* in;
    const int32_t* positions;
    float* to;
    int token, head;
  };
  auto job_of = [&](int job) -> Job {
    if (job < p.queries) {
      const int token = (base + job) / p.group;
      return {&p.q, p.q_positions, m.q + job * D, token, kv_head * p.group + base + job - token * p.group};
    }
    const int i = min(job - p.queries, 2 * p.tokens - 1);
    return {i % 2 != 0 ? &p.v : &p.k, p.positions, m.fresh + i * D, i / 2, kv_head};
  };
  Job job = job_of(warp);
  HeadJob head;
  if (p.known_inputs) head.template prepare<H / kWarp>(*job.in, p.rotation, job.token, H, job.positions, lane);
  auto row_of = [&] {
    return lane >= p.tokens ? -1
           : p.wide_rows    ? __ldcg(static_cast<const long long*>(p.rows) + lane)
                            : __ldcg(static_cast<const int32_t*>(p.rows) + lane);
  };
  long long own_row = p.known_inputs ? row_of() : -1;
  auto mask_at = [&](int token, int key) {
    if (key >= here) return -INFINITY;
    return p.mask == nullptr ? 0.0f : __half2float(__ldcg(p.mask + token * p.n_kv + begin + key));
  };
  const int masks = p.tokens * p.keys, own_token = static_cast<int>(threadIdx.x) / p.keys,
            own_key = static_cast<int>(threadIdx.x) - own_token * p.keys;
  wait_previous();

  // Asked for first, used last: every trip to memory costs as much as a phase.
  if (!p.known_inputs) own_row = row_of();
  const float own_mask = static_cast<int>(threadIdx.x) < masks ? mask_at(own_token, own_key) : 0.0f;
  const auto has_rows = [&] { return __any_sync(0xffffffffu, own_row >= begin && own_row < begin + p.keys); };
  const bool few = p.queries + 2 * p.tokens <= kBlockWarps;
  const int jobs = p.queries + (few || has_rows() ? 2 * p.tokens : 0);
  for (int i = warp; i < jobs; i += kBlockWarps) {
    if (i != warp) job = job_of(i);
    head.template load<H / kWarp>(*job.in, job.token, job.head, H, lane);
    if (i != warp || !p.known_inputs)
      head.template prepare<H / kWarp>(*job.in, p.rotation, job.token, H, job.positions, lane);
    head.template store<H / kWarp>(*job.in, p.rotation, H, lane, job.to);
  }
  if (static_cast<int>(threadIdx.x) < masks) m.mask[threadIdx.x] = own_mask;
  for (int i = threadIdx.x + kBlock; i < masks; i += kBlock) m.mask[i] = mask_at(i / p.keys, i % p.keys);
  const bool mine = has_rows();
  wait_copies<0>();
  __syncthreads();
  if (mine) {
    constexpr int kPieces = H / 8;  // of 16 bytes
    for (int i = threadIdx.x; i - lane < 2 * p.tokens * kPieces; i += kBlock) {
      const int source = min(i / kPieces, 2 * p.tokens - 1), piece = i % kPieces;
      const bool value = source % 2 != 0;
      const long long row = __shfl_sync(0xffffffffu, own_row, source / 2);
      if (i >= 2 * p.tokens * kPieces || row < begin || row >= begin + p.keys) continue;
      const uint4 halves = pack(m.fresh + source * D + piece * 8);
      reinterpret_cast<uint4*>((value ? m.v : m.k) + (row - begin) * D)[piece] = halves;
      if (base == 0)
        reinterpret_cast<uint4*>((value ? p.v_cache : p.k_cache) + row * row_elements + kv_head * H)[piece] = halves;
    }
    __syncthreads();
  }

  // As many queries at once as there are, up to kAtOnce: their steps, which wait for each other, lie side by side.
  auto count = [&](int first) { return min(kAtOnce, p.queries - first); };
  for (int first = 0; first < p.queries; first += kAtOnce) {
    if (count(first) == 1) {
      block.template scores<1>(first);
    } else if (count(first) == 2) {
      block.template scores<2>(first);
    } else {
      block.template scores<4>(first);
    }
  }
  __syncthreads();
  if (p.queries == 1) {
    cluster.barrier_wait();
    block.template values<1, false>(0, cluster);
  } else if (p.queries == 2) {
    cluster.barrier_wait();
    block.template values<2, false>(0, cluster);
  } else {
    block.weigh();
    __syncthreads();
    cluster.barrier_wait();
    block.send_sums(cluster);
    for (int first = 0; first < p.queries; first += kAtOnce) {
      if (count(first) <= 2) {
        block.template values<2, true>(first, cluster);
      } else {
        block.template values<4, true>(first, cluster);
      }
    }
  }
  cluster.sync();
  block.finish();
#endif
}

/// Clusters that share the queries of a key head: as many as there are multiprocessors for, and divide them.
int parts_of(int device, const AttentionDesc& a) {
  const int queries = a.q_heads / a.kv_heads * a.tokens;
  int parts = std::min(queries, multiprocessors(device) / (kClusterSize * a.kv_heads));
  while (parts > 1 && queries % parts != 0) --parts;
  return std::max(parts, 1);
}

int keys_of_block(int64_t n_kv) { return static_cast<int>((n_kv + kClusterSize - 1) / kClusterSize); }

size_t shared_bytes(int device, const HeadsAttentionDesc& c) {
  const int keys = keys_of_block(c.attention.n_kv),
            queries = c.attention.q_heads / c.attention.kv_heads * c.attention.tokens / parts_of(device, c.attention);
  const int tokens = c.attention.tokens;
  switch (c.attention.head_dim) {
    case 64:
      return ClusterMemory<64>(nullptr, keys, queries, tokens).bytes;
    case 96:
    case 128:
      return ClusterMemory<128>(nullptr, keys, queries, tokens).bytes;
    case 256:
      return ClusterMemory<256>(nullptr, keys, queries, tokens).bytes;
    default:
      return 0;
  }
}

}  // namespace

bool supports_heads_attention(int device, const HeadsAttentionDesc& c) {
  const HeadsDesc& h = c.heads;
  const AttentionDesc& a = c.attention;
  const int64_t d = a.head_dim;
  if (compute_capability(device) < 90 || (d != 64 && d != 96 && d != 128 && d != 256)) return false;
  if (!shares_whole_caches(c) || h.n_dims > h.head_dim || h.n_dims % 2 != 0) return false;
  return a.q_heads / a.kv_heads * a.tokens / parts_of(device, a) <= kMostQueries && a.n_kv <= kMostKeys &&
         shared_bytes(device, c) <= shared_memory_limit(device);
}

bool launch_heads_attention(int device, cudaStream_t stream, const HeadsAttentionDesc& c) {
  const HeadsDesc& h = c.heads;
  const AttentionDesc& a = c.attention;
  ClusterParams p = {};
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
  const uint64_t slice =
      static_cast<uint64_t>(p.queries) * static_cast<uint64_t>(a.head_dim == 96 ? 128 : a.head_dim) / kClusterSize;
  p.slice_inverse = static_cast<unsigned>(((uint64_t{1} << 32) + slice - 1) / slice);
  auto of_host = [](const ggml_tensor* t) { return t == nullptr || (t->flags & GGML_TENSOR_FLAG_INPUT) != 0; };
  p.known_inputs = of_host(h.positions) && of_host(h.q_positions) && of_host(h.rows);
  p.scale = a.scale;
  p.softcap = a.softcap;
  p.overlaps_next = c.overlaps_next;
  auto* kernel = a.head_dim == 64    ? heads_attention_kernel<64>
                 : a.head_dim == 96  ? heads_attention_kernel<128, 96>
                 : a.head_dim == 128 ? heads_attention_kernel<128>
                                     : heads_attention_kernel<256>;
  return launch_clusters(device, stream, dim3(kClusterSize, static_cast<unsigned>(a.kv_heads * p.parts)), dim3(kBlock),
                         shared_bytes(device, c), kClusterSize, kernel, p);
}

}  // namespace etggml::cuda
