// Attention of a few queries over keys and values in the shared memory of a cluster of blocks. Each block has a part of
// the keys. Here are scores, weights and weighted values, the sums of the cluster, and each block's part of the result.
#pragma once

#include <cooperative_groups.h>

#include "attention_math.cuh"
#include "head_jobs.cuh"
#include "sums.cuh"

namespace etggml::cuda {

constexpr int kClusterSize = 8, kBlockWarps = 8, kBlock = kBlockWarps * kWarp;
constexpr int kMostQueries = 32;  // of a cluster: query heads of a key head, times tokens
constexpr int kMostKeysOfBlock = 64;
constexpr int kAtOnce = 4;  // queries that a thread has in its registers

struct ClusterParams {
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
  unsigned slice_inverse;    // 2^32 over the elements of the result that a block finishes, rounded up
  float scale, softcap;
  bool wide_rows, known_inputs, overlaps_next;  // known: positions and rows are the host's, there before any kernel
};

/// Shared memory of a block.
template <int D>
struct ClusterMemory {
  __half *k, *v;         // [keys][D]
  float* q;              // [queries][D]
  float* fresh;          // [2 tokens][D]: this step's keys and values
  float* scores;         // [queries][keys, padded]
  float* mask;           // [tokens][keys]
  int* tokens;           // [queries]
  float* partial;        // [kBlock][2 kAtOnce]: partial outputs of threads
  float* partial_sums;   // [kBlockWarps][kAtOnce]: partial sums of weights
  float* sums;           // [2][queries]: largest scores, sums of weights
  float* received;       // [kClusterSize][slice]: sent by the cluster for this block's part
  float* received_sums;  // [kClusterSize][2][queries]: largest scores, sums of weights
  size_t bytes;
  static __host__ __device__ int padded(int keys) { return (keys + 3) / 4 * 4; }
  __host__ __device__ ClusterMemory(uint8_t* base, int keys, int queries, int token_count) {
    size_t at = 0;
    auto take = [&](int count, size_t each) {
      const size_t from = at;
      at += (static_cast<size_t>(count) * each + 15) / 16 * 16;
      return base + from;
    };
    auto floats = [&](int count) { return reinterpret_cast<float*>(take(count, sizeof(float))); };
    k = reinterpret_cast<__half*>(take(keys * D, sizeof(__half)));
    v = reinterpret_cast<__half*>(take(keys * D, sizeof(__half)));
    q = floats(queries * D);
    fresh = floats(token_count * 2 * D);
    scores = floats(queries * padded(keys));
    mask = floats(token_count * keys);
    tokens = reinterpret_cast<int*>(take(queries, sizeof(int)));
    partial = floats(kBlock * 2 * kAtOnce);
    partial_sums = floats(kBlockWarps * kAtOnce);
    sums = floats(2 * queries);
    received = floats(queries * D);
    received_sums = floats(queries * 2 * kClusterSize);
    bytes = at;
  }
};

#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900

/// Heads of H elements, D apart in shared memory: a power of two, so that lanes divide it.
template <int D, int H>
struct ClusterBlock {
  const ClusterParams& p;
  const ClusterMemory<D>& m;
  int rank, kv_head, base;  // base: the cluster's first query
  int here, padded;         // keys that there are; that scores have place for

  /// Of Q queries from `first` on (those there are), times log2(e). kLanes lanes have a key, each of them every
  /// kLanes-th piece of 16 bytes.
  template <int Q>
  __device__ __forceinline__ void scores(int first) const {
    constexpr int kLanes = D / 16, kOfWarp = kWarp / kLanes, kEach = kLanes / Q;
    const int lane = threadIdx.x % kWarp, key_lane = lane % kLanes, query = first + key_lane / kEach;
    const bool writes = key_lane % kEach == 0 && query < p.queries;
    const float* mask = m.mask + m.tokens[min(query, p.queries - 1)] * p.keys;
    const auto there = [&](int i) { return D == H || (key_lane + i * kLanes) * 8 < H; };
    for (int from = static_cast<int>(threadIdx.x) / kWarp * kOfWarp; from < padded; from += kBlockWarps * kOfWarp) {
      const int at = from + lane / kLanes, key = max(min(at, here - 1), 0);
      float k[2][8], dots[Q];
#pragma unroll
      for (int i = 0; i < 2; ++i)
        if (there(i)) unpack(reinterpret_cast<const uint4*>(m.k + key * D)[key_lane + i * kLanes], k[i]);
#pragma unroll
      for (int g = 0; g < Q; ++g) {
        const float* q = m.q + min(first + g, p.queries - 1) * D;
        float parts[2] = {};
#pragma unroll
        for (int i = 0; i < 2; ++i) {
          if (!there(i)) continue;
          const float4* four = reinterpret_cast<const float4*>(q + (key_lane + i * kLanes) * 8);
          const float4 a = four[0], b = four[1];
          parts[i] = fmaf(a.x, k[i][0], fmaf(a.y, k[i][1], fmaf(a.z, k[i][2], a.w * k[i][3])));
          parts[i] = fmaf(b.x, k[i][4], fmaf(b.y, k[i][5], fmaf(b.z, k[i][6], fmaf(b.w, k[i][7], parts[i]))));
        }
        dots[g] = parts[0] + parts[1];
      }
      float s = sums_of<Q, kLanes>(dots, lane) * p.scale;
      if (!writes || at >= padded) continue;
      if (p.softcap > 0.0f) s = p.softcap * tanhf(s / p.softcap);
      // Memory that is not written yet may hold anything.
      const float bias = at < here ? mask[key] : -INFINITY;
      m.scores[query * padded + at] = bias == -INFINITY ? -INFINITY : (s + bias) * kLog2E;
    }
  }

  /// Scores become weights, and largest scores and sums are kept, a query by a warp: for many queries.
  __device__ __forceinline__ void weigh() const {
    constexpr int kEach = kMostKeysOfBlock / kWarp;
    const int lane = threadIdx.x % kWarp;
    for (int query = threadIdx.x / kWarp; query < p.queries; query += kBlockWarps) {
      float* row = m.scores + query * padded;
      float s[kEach], largest = -INFINITY, total = 0.0f;
#pragma unroll
      for (int i = 0; i < kEach; ++i) {
        s[i] = lane + i * kWarp < padded ? row[lane + i * kWarp] : -INFINITY;
        largest = fmaxf(largest, s[i]);
      }
#pragma unroll
      for (int offset = 16; offset > 0; offset /= 2)
        largest = fmaxf(largest, __shfl_xor_sync(0xffffffffu, largest, offset));
#pragma unroll
      for (int i = 0; i < kEach; ++i) {
        const float w = relative(s[i], largest);
        if (lane + i * kWarp < padded) row[lane + i * kWarp] = w;
        total += w;
      }
      total = warp_sum(total);
      if (lane == 0) {
        m.sums[query] = largest;
        m.sums[p.queries + query] = total;
      }
    }
  }

  /// Weighted values of Q queries from `first` on, sent to the block that finishes them. A thread has two neighbouring
  /// elements and every kParts-th four keys. `Weighed`: scores are weights already; if not, every thread finds the
  /// largest ones, because for a few queries to have it told takes longer.
  template <int Q, bool Weighed>
  __device__ __forceinline__ void values(int first, const cooperative_groups::cluster_group& cluster) const {
    constexpr int kColumns = D / 2, kParts = kBlock / kColumns;
    const int column = threadIdx.x % kColumns, part = threadIdx.x / kColumns;
    const float4* rows[Q];
    float largest[Q], total[Q] = {}, acc[Q][2] = {};
#pragma unroll
    for (int g = 0; g < Q; ++g) {
      rows[g] = reinterpret_cast<const float4*>(m.scores + min(first + g, p.queries - 1) * padded);
      largest[g] = -INFINITY;
    }
    if constexpr (!Weighed) {
#pragma unroll 4
      for (int i = 0; i < padded / 4; ++i) {
#pragma unroll
        for (int g = 0; g < Q; ++g) {
          const float4 s = rows[g][i];
          largest[g] = fmaxf(largest[g], fmaxf(fmaxf(s.x, s.y), fmaxf(s.z, s.w)));
        }
      }
    }
#pragma unroll 2
    for (int i = part; i < padded / 4; i += kParts) {
      float w[Q][4];
#pragma unroll
      for (int g = 0; g < Q; ++g) {
        const float4 s = rows[g][i];
        w[g][0] = s.x, w[g][1] = s.y, w[g][2] = s.z, w[g][3] = s.w;
        if constexpr (!Weighed) {
          const float to = largest[g] == -INFINITY ? 0.0f : largest[g];
#pragma unroll
          for (int j = 0; j < 4; ++j) {
            w[g][j] = exp2f(w[g][j] - to);
            total[g] += w[g][j];
          }
        }
      }
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        float any = 0.0f;  // zero times anything
#pragma unroll
        for (int g = 0; g < Q; ++g) any = fmaxf(any, w[g][j]);
        const half2 both = any > 0.0f ? reinterpret_cast<const half2*>(m.v + (i * 4 + j) * D)[column] : half2{};
        const float2 v = __half22float2(both);
#pragma unroll
        for (int g = 0; g < Q; ++g) {
          acc[g][0] = fmaf(w[g][j], v.x, acc[g][0]);
          acc[g][1] = fmaf(w[g][j], v.y, acc[g][1]);
        }
      }
    }
    if (first > 0) __syncthreads();
#pragma unroll
    for (int g = 0; g < Q; ++g) {
      reinterpret_cast<float2*>(m.partial)[(part * Q + g) * kColumns + column] = make_float2(acc[g][0], acc[g][1]);
      if (!Weighed && column == 0) m.partial_sums[part * Q + g] = total[g];
    }
    __syncthreads();
    const int slice = p.queries * D / kClusterSize;
#pragma unroll
    for (int i = threadIdx.x; i < Q * D; i += kBlock) {
      const int element = first * D + i;
      if (element >= p.queries * D) break;
      float sum = 0.0f;
#pragma unroll
      for (int j = 0; j < kParts; ++j) sum += m.partial[j * Q * D + i];
      const int to = static_cast<int>(__umulhi(static_cast<unsigned>(element), p.slice_inverse));
      cluster.map_shared_rank(m.received, to)[rank * slice + element - to * slice] = sum;
    }
    if (Weighed || threadIdx.x >= kClusterSize * Q) return;
    const int g_of = static_cast<int>(threadIdx.x) % Q;
    float most = largest[0], sum = 0.0f;
#pragma unroll
    for (int g = 1; g < Q; ++g) most = g_of == g ? largest[g] : most;
#pragma unroll
    for (int j = 0; j < kParts; ++j) sum += m.partial_sums[j * Q + g_of];
    if (first + g_of >= p.queries) return;
    float* remote = cluster.map_shared_rank(m.received_sums, threadIdx.x / Q) + rank * 2 * p.queries + first + g_of;
    remote[0] = most;
    remote[p.queries] = sum;
  }
  /// The largest scores and sums of weighed queries.
  __device__ __forceinline__ void send_sums(const cooperative_groups::cluster_group& cluster) const {
    for (int i = threadIdx.x; i < kClusterSize * 2 * p.queries; i += kBlock) {
      const int to = i % kClusterSize, at = i / kClusterSize;
      cluster.map_shared_rank(m.received_sums, to)[rank * 2 * p.queries + at] = m.sums[at];
    }
  }

  /// This block's part of the result.
  __device__ __forceinline__ void finish() const {
    const int slice = p.queries * D / kClusterSize;
    for (int i = threadIdx.x; i < slice; i += kBlock) {
      const int element = rank * slice + i, query = element / D;
      if (D != H && element % D >= H) continue;
      float largest = -INFINITY, weights[kClusterSize];
#pragma unroll
      for (int r = 0; r < kClusterSize; ++r) {
        weights[r] = m.received_sums[r * 2 * p.queries + query];
        largest = fmaxf(largest, weights[r]);
      }
      float total = 0.0f, sum = 0.0f;
#pragma unroll
      for (int r = 0; r < kClusterSize; ++r) {
        const float weight = relative(weights[r], largest);
        total += weight * m.received_sums[(r * 2 + 1) * p.queries + query];
        sum += weight * m.received[r * slice + i];
      }
      const int token = m.tokens[query], head = kv_head * p.group + base + query - token * p.group;
      p.out[(static_cast<int64_t>(token) * p.heads + head) * H + element % D] = sum / total;
    }
  }
};

#endif

}  // namespace etggml::cuda
