// The choice of experts: softmax of the router's logits, the largest of them, and their weights. One warp.
#include <algorithm>

#include "kernels.cuh"

namespace etggml::cuda {
namespace {

struct Params {
  const float* x;
  int32_t* ids;
  float* weights;
  int experts, used;
  float least_sum;
  bool overlaps_next;
};

/// Each: logits of a lane; lane l has those of experts l, l + 32, ...
template <int Each>
__global__ void __launch_bounds__(kWarp) route_kernel(const Params p) {
  const int lane = threadIdx.x;
  allow_next(p.overlaps_next);
  wait_previous();
  float x[Each], largest = -INFINITY;
#pragma unroll
  for (int i = 0; i < Each; ++i) {
    const int expert = lane + i * kWarp;
    x[i] = expert < p.experts ? __ldcg(p.x + expert) : -INFINITY;
    largest = fmaxf(largest, x[i]);
  }
#pragma unroll
  for (int offset = 16; offset > 0; offset /= 2)
    largest = fmaxf(largest, __shfl_xor_sync(0xffffffffu, largest, offset));
  float total = 0.0f;
#pragma unroll
  for (int i = 0; i < Each; ++i) {
    x[i] = expf(x[i] - largest);  // experts that do not exist: 0
    total += x[i];
  }
  total = warp_sum(total);
  // Place i of the choice is lane i's.
  float own_weight = 0.0f, sum = 0.0f;
  int own_id = 0;
  unsigned taken = 0;  // of this lane's experts
  for (int place = 0; place < p.used; ++place) {
    // Weights are not negative, so their bits are ordered as they are. 0: nothing is left.
    unsigned own = 0;
    int own_at = p.experts;
#pragma unroll
    for (int i = 0; i < Each; ++i) {
      const int expert = lane + i * kWarp;
      // A NaN is larger than any number. Every weight is NaN then, but the ids must be those of experts.
      const unsigned key = __float_as_uint(isnan(x[i]) ? INFINITY : x[i]) + 1;
      if (expert < p.experts && (taken >> i & 1) == 0 && key > own) {
        own = key;
        own_at = expert;
      }
    }
    const unsigned most = __reduce_max_sync(0xffffffffu, own);
    const int at = __reduce_min_sync(0xffffffffu, own == most ? own_at : p.experts);
    const float best = __uint_as_float(most - 1);
    if (at % kWarp == lane) taken |= 1u << (at / kWarp);
    const float weight = best / total;
    sum += weight;
    if (lane == place) {
      own_weight = weight;
      own_id = at;
    }
  }
  if (lane < p.used) {
    p.ids[lane] = own_id;
    p.weights[lane] = own_weight / fmaxf(sum, p.least_sum);
  }
}

}  // namespace

bool supports_route(int, const RouteDesc& c) {
  return c.experts <= kMaxExperts && c.used >= 1 && c.used <= std::min(c.experts, kWarp);
}

bool launch_route(int device, cudaStream_t stream, const RouteDesc& c) {
  Params p = {};
  p.x = static_cast<const float*>(c.x->data);
  p.ids = static_cast<int32_t*>(c.ids->data);
  p.weights = static_cast<float*>(c.weights->data);
  p.experts = c.experts;
  p.used = c.used;
  p.least_sum = c.least_sum;
  p.overlaps_next = c.overlaps_next;
  auto* kernel = c.experts <= 4 * kWarp ? route_kernel<4> : route_kernel<kMaxExperts / kWarp>;
  return launch(device, stream, dim3(1), dim3(kWarp), 0, kernel, p);
}

}  // namespace etggml::cuda
