// Sampling among the k largest logits, on the device. Two kernels: the first counts logits by their upper bits and so
// finds the bin of the k-th largest. The second collects the logits in and above that bin. Its last block selects from
// the bin, sorts the k and samples. A logit and its index make one key. So equal logits go by the lower index, as in
// text/sampler.cpp, and every selection is unique.
#include "kernels.cuh"

namespace etggml::cuda {
namespace {

using Key = unsigned long long;  // a type of CUDA's atomics; the larger, the earlier

constexpr int kBlock = 512;
constexpr int kMaxBlocks = 64;
constexpr int kBinShift = 64 - 12;
static_assert(kSampleBins == 1 << 12 && kMaxTopK == 2 * kBlock, "two candidates for each thread of the last block");

struct Counters {
  unsigned counted, collected;  // blocks that are through
  unsigned bad;                 // kNan, kInfinity
  unsigned bin, above, total;   // of the k-th largest; keys in larger bins; keys that can be drawn
  unsigned sure, unsure;        // keys in larger bins, and in that bin
};
static_assert(sizeof(Counters) <= 16 * sizeof(float), "sample_scratch_elements()");
constexpr unsigned kNan = 1, kInfinity = 2;

struct Scratch {
  unsigned* bins;
  Counters* counters;
  Key *sure, *unsure;
};

__device__ __forceinline__ Key key_of(float v, int index) {
  const unsigned bits = __float_as_uint(v + 0.0f);  // -0 becomes 0: they are equal
  const unsigned ordered = bits >> 31 ? ~bits : bits | 0x80000000u;
  return static_cast<Key>(ordered) << 32 | (0xffffffffu - static_cast<unsigned>(index));
}
__device__ __forceinline__ float logit_of(Key key) {
  const auto ordered = static_cast<unsigned>(key >> 32);
  return __uint_as_float(ordered >> 31 ? ordered & 0x7fffffffu : ~ordered);
}
__device__ __forceinline__ int index_of(Key key) { return static_cast<int>(0xffffffffu - static_cast<unsigned>(key)); }

/// True in every thread of the block that is the last to come here.
__device__ bool last_block(unsigned* arrived) {
  __shared__ bool last;
  __threadfence();
  __syncthreads();
  if (threadIdx.x == 0) last = atomicAdd(arrived, 1) == gridDim.x - 1;
  __syncthreads();
  if (last) __threadfence();
  return last;
}

/// Sums of everything up to and including each of n <= kMaxTopK elements.
template <class T>
__device__ void scan(T* values, int n) {
  for (int step = 1; step < n; step *= 2) {
    T mine[2];
    for (int half = 0; half < 2; ++half) {
      const int i = half * kBlock + static_cast<int>(threadIdx.x);
      mine[half] = i < n ? values[i] + (i >= step ? values[i - step] : T(0)) : T(0);
    }
    __syncthreads();
    for (int half = 0; half < 2; ++half) {
      const int i = half * kBlock + static_cast<int>(threadIdx.x);
      if (i < n) values[i] = mine[half];
    }
    __syncthreads();
  }
}

struct Pick {
  unsigned bin, above, inside;
};

/// The bin in which the `wanted`-th largest lies, how many lie in larger ones and how many in it. `count(bin)`, for
/// `bins` of them, which are a multiple or a divisor of the block's threads.
template <class Count>
__device__ Pick pick_bin(Count count, int bins, unsigned wanted) {
  __shared__ unsigned sums[kBlock];
  __shared__ Pick found;
  const int share = bins > kBlock ? bins / kBlock : 1, threads = bins / share;
  const int thread = static_cast<int>(threadIdx.x);
  // Threads from the largest bins on, so that sums run from there.
  unsigned mine = 0;
  if (thread < threads)
    for (int i = 0; i < share; ++i) mine += count(bins - 1 - thread * share - i);
  sums[thread] = mine;
  __syncthreads();
  scan(sums, kBlock);
  unsigned above = sums[thread] - mine;
  if (thread < threads && above < wanted && wanted <= sums[thread]) {
    for (int bin = bins - 1 - thread * share;; --bin) {
      const unsigned inside = count(bin);
      if (wanted <= above + inside) {
        found = {static_cast<unsigned>(bin), above, inside};
        break;
      }
      above += inside;
    }
  }
  __syncthreads();
  const Pick result = found;
  __syncthreads();
  return result;
}

__global__ void count_kernel(const float* x, int n, const SampleParams* params, Scratch s) {
  __shared__ unsigned bins[kSampleBins];
  for (int i = threadIdx.x; i < kSampleBins; i += kBlock) bins[i] = 0;
  __syncthreads();
  wait_previous();
  unsigned bad = 0;
  for (int i = blockIdx.x * kBlock + threadIdx.x; i < n; i += gridDim.x * kBlock) {
    const float v = __ldcg(x + i);
    if (v != v) bad |= kNan;
    if (v == INFINITY) bad |= kInfinity;
    if (v > -INFINITY) atomicAdd(bins + (key_of(v, i) >> kBinShift), 1u);
  }
  if (bad != 0) atomicOr(&s.counters->bad, bad);
  __syncthreads();
  for (int i = threadIdx.x; i < kSampleBins; i += kBlock)
    if (bins[i] != 0) atomicAdd(s.bins + i, bins[i]);
  if (!last_block(&s.counters->counted)) return;

  __shared__ unsigned total;
  if (threadIdx.x == 0) total = 0;
  __syncthreads();
  unsigned mine = 0;
  for (int i = threadIdx.x; i < kSampleBins; i += kBlock) mine += bins[i] = __ldcg(s.bins + i);
  atomicAdd(&total, mine);
  __syncthreads();
  const unsigned wanted = min(total, static_cast<unsigned>(params->top_k));
  Pick pick = {};
  if (wanted > 0) pick = pick_bin([&](int bin) { return bins[bin]; }, kSampleBins, wanted);
  if (threadIdx.x > 0) return;
  s.counters->bin = pick.bin;
  s.counters->above = pick.above;
  s.counters->total = total;
}

/// The largest `wanted` of `n` keys with the same bin, appended to `list`.
__device__ void choose_rest(const Key* keys, unsigned n, unsigned bin, unsigned wanted, Key* list, unsigned* length) {
  constexpr int kDigits = 256;
  __shared__ unsigned digits[kDigits];
  Key prefix = bin;
  int low = kBinShift;
  while (low > 0) {  // digit by digit, until a digit's keys are as many as are wanted: at the last one they are
    const int bits = low < 8 ? low : 8;
    low -= bits;
    if (threadIdx.x < kDigits) digits[threadIdx.x] = 0;
    __syncthreads();
    for (unsigned i = threadIdx.x; i < n; i += kBlock) {
      const Key key = __ldcg(keys + i);
      if (key >> (low + bits) == prefix) atomicAdd(digits + (key >> low & ((1 << bits) - 1)), 1u);
    }
    __syncthreads();
    const Pick pick = pick_bin([&](int digit) { return digits[digit]; }, kDigits, wanted);
    prefix = prefix << bits | pick.bin;
    wanted -= pick.above;
    if (pick.inside == wanted) break;
  }
  for (unsigned i = threadIdx.x; i < n; i += kBlock) {
    const Key key = __ldcg(keys + i);
    if (key >> low >= prefix) list[atomicAdd(length, 1u)] = key;
  }
  __syncthreads();
}

/// Descending; the list has room for the next power of two.
__device__ void sort(Key* list, int n) {
  int size = 2;
  while (size < n) size *= 2;
  for (int i = threadIdx.x; i < size; i += kBlock)
    if (i >= n) list[i] = 0;
  __syncthreads();
  for (int run = 2; run <= size; run *= 2) {
    for (int step = run / 2; step > 0; step /= 2) {
      for (int i = threadIdx.x; i < size / 2; i += kBlock) {
        const int at = 2 * step * (i / step) + i % step;
        const Key a = list[at], b = list[at + step];
        if ((a < b) == ((at & run) == 0)) {
          list[at] = b;
          list[at + step] = a;
        }
      }
      __syncthreads();
    }
  }
}

/// How many of the first n elements of this block's threads satisfy `test(i)`.
template <class Test>
__device__ int count_of(int n, Test test) {
  int found = 0;
  for (int half = 0; half < 2; ++half) {
    const int i = half * kBlock + static_cast<int>(threadIdx.x);
    found += __syncthreads_count(i < n && test(i));
  }
  return found;
}

/// The index drawn among n sorted keys.
__device__ int draw(const Key* list, int n, const SampleParams& p) {
  __shared__ double sums[kMaxTopK];
  const float top = logit_of(list[0]);
  auto fill = [&](double scale) {
    for (int i = threadIdx.x; i < n; i += kBlock) sums[i] = exp(static_cast<double>(logit_of(list[i]) - top) * scale);
    __syncthreads();
    scan(sums, n);
  };
  if (p.top_p < 1) {
    fill(1);
    const double wanted = p.top_p * sums[n - 1];
    n = min(n, count_of(n, [&](int i) { return sums[i] < wanted; }) + 1);
  }
  n = max(1, count_of(n, [&](int i) { return logit_of(list[i]) >= top + p.log_min_p; }));
  fill(p.scale);
  const double target = p.uniform * sums[n - 1];
  const int before = count_of(n, [&](int i) { return sums[i] <= target; });
  if (before < n) return index_of(list[before]);
  // Rounded up to the very end: the last one that has a weight.
  const int heavy = count_of(n, [&](int i) { return i == 0 || sums[i] > sums[i - 1]; });
  return index_of(list[heavy - 1]);
}

__global__ void collect_kernel(const float* x, int n, const SampleParams* params, Scratch s, int32_t* out) {
  wait_previous();
  const unsigned bin = __ldcg(&s.counters->bin);
  for (int i = blockIdx.x * kBlock + threadIdx.x; i < n; i += gridDim.x * kBlock) {
    const float v = __ldcg(x + i);
    if (!(v > -INFINITY)) continue;
    const Key key = key_of(v, i);
    const auto mine = static_cast<unsigned>(key >> kBinShift);
    if (mine > bin) {
      // At most k - 1, unless NaN made nonsense of the count.
      const unsigned at = atomicAdd(&s.counters->sure, 1u);
      if (at < kMaxTopK) s.sure[at] = key;
    } else if (mine == bin) {
      s.unsure[atomicAdd(&s.counters->unsure, 1u)] = key;
    }
  }
  if (!last_block(&s.counters->collected)) return;

  __shared__ Key list[kMaxTopK];
  __shared__ unsigned length;
  const Counters* now = s.counters;
  const Counters c = {
      0, 0, __ldcg(&now->bad), __ldcg(&now->bin), __ldcg(&now->above), __ldcg(&now->total), 0, __ldcg(&now->unsure)};
  const SampleParams p = *params;
  const unsigned wanted = min(c.total, static_cast<unsigned>(p.top_k));
  __syncthreads();  // everybody has read the counters
  for (int i = threadIdx.x; i < kSampleBins; i += kBlock) s.bins[i] = 0;
  if (threadIdx.x == 0) {
    *s.counters = {};
    length = c.above;
    if (c.bad != 0 || wanted == 0) *out = c.bad & kNan ? -1 : c.bad & kInfinity ? -3 : -2;
  }
  if (c.bad != 0 || wanted == 0) return;
  for (unsigned i = threadIdx.x; i < c.above; i += kBlock) list[i] = __ldcg(s.sure + i);
  __syncthreads();
  choose_rest(s.unsure, c.unsure, c.bin, wanted - c.above, list, &length);
  sort(list, static_cast<int>(wanted));
  const int index = draw(list, static_cast<int>(wanted), p);
  if (threadIdx.x == 0) *out = index;
}

}  // namespace

bool launch_sample(int device, cudaStream_t stream, const SampleDesc& c) {
  const auto n = static_cast<int>(c.x->ne[0]);
  const int wanted = (n + kBlock - 1) / kBlock;
  const dim3 grid(static_cast<unsigned>(wanted < kMaxBlocks ? wanted : kMaxBlocks));
  const float* last = static_cast<const float*>(c.x->data) + (c.x->ne[1] * c.x->ne[2] * c.x->ne[3] - 1) * c.x->ne[0];
  auto* memory = static_cast<unsigned*>(c.scratch->data);
  auto* keys = reinterpret_cast<Key*>(memory + kSampleBins + 16);
  const Scratch scratch = {memory, reinterpret_cast<Counters*>(memory + kSampleBins), keys, keys + kMaxTopK};
  const auto* params = static_cast<const SampleParams*>(c.params->data);
  return launch(device, stream, grid, dim3(kBlock), 0, count_kernel, last, n, params, scratch) &&
         launch(device, stream, grid, dim3(kBlock), 0, collect_kernel, last, n, params, scratch,
                static_cast<int32_t*>(c.out->data));
}

}  // namespace etggml::cuda
