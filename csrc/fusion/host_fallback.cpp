#include "fusion/host_fallback.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>

#include "devices/types.h"
#include "fusion/host_sample.h"
#include "fusion/whole_caches.h"
#include "kernels/kernel_guard.h"
#include "util/env.h"

namespace etggml::fusion {
namespace {

using namespace cuda;  // the descriptors

const float* floats(const ggml_tensor* t) { return static_cast<const float*>(t->data); }
float* result(const ggml_tensor* t) { return static_cast<float*>(t->data); }

std::vector<float> row_as_f32(const ggml_tensor* w, int64_t row) {
  std::vector<float> out(static_cast<size_t>(w->ne[0]));
  const char* from = static_cast<const char*>(w->data) + static_cast<size_t>(row) * w->nb[1];
  if (w->type == GGML_TYPE_F32) {
    std::memcpy(out.data(), from, out.size() * sizeof(float));
  } else {
    ggml_get_type_traits(w->type)->to_float(from, out.data(), w->ne[0]);
  }
  return out;
}

void normalise(std::vector<float>* x, const float* gain, float eps) {
  double total = 0;
  for (float v : *x) total += static_cast<double>(v) * v;
  const double scale = 1.0 / std::sqrt(total / static_cast<double>(x->size()) + eps);
  for (size_t i = 0; i < x->size(); ++i)
    (*x)[i] = static_cast<float>((*x)[i] * scale * (gain == nullptr ? 1.0f : gain[i]));
}

double dot(const std::vector<float>& a, const std::vector<float>& b) {
  double total = 0;
  for (size_t i = 0; i < a.size(); ++i) total += static_cast<double>(a[i]) * b[i];
  return total;
}

double gate(double v, MatVecDesc::Glu glu) {
  if (glu == MatVecDesc::Swiglu) return v / (1 + std::exp(-v));
  return 0.5 * v * (1 + std::tanh(0.79788456080286535588 * v * (1 + 0.044715 * v * v)));
}

void run_experts(const MatVecDesc& c) {
  const MatVecDesc::Segment& segment = c.segment[0];
  const int64_t k = segment.weight->ne[0], rows = segment.weight->ne[1];
  const auto* ids = static_cast<const int32_t*>(c.ids->data);
  std::vector<double> sums(static_cast<size_t>(rows));
  for (int place = 0; place < c.used; ++place) {
    const float* from = floats(c.x) + c.x_offset + (c.glu == MatVecDesc::None ? place * k : 0);
    std::vector<float> x(from, from + k);
    if (c.norm) normalise(&x, c.gain == nullptr ? nullptr : floats(c.gain), c.eps);
    for (int64_t row = 0; row < rows; ++row) {
      auto value = [&](int s) { return dot(row_as_f32(c.segment[s].weight, ids[place] * rows + row), x); };
      if (c.glu != MatVecDesc::None) {
        result(segment.out)[place * rows + row] = static_cast<float>(gate(value(0), c.glu) * value(1));
      } else {
        sums[static_cast<size_t>(row)] +=
            value(0) * (c.expert_scales == nullptr ? 1.0 : floats(c.expert_scales)[place]);
      }
    }
  }
  if (c.glu != MatVecDesc::None) return;
  for (int64_t row = 0; row < rows; ++row) {
    const double y = sums[static_cast<size_t>(row)] +
                     (segment.residual == nullptr ? 0.0f : floats(segment.residual)[row]) +
                     (segment.bias == nullptr ? 0.0f : floats(segment.bias)[row]);
    result(segment.out)[row] = static_cast<float>(y);
  }
}

void run(const RouteDesc& c) {
  std::vector<int32_t> order(static_cast<size_t>(c.experts));
  std::iota(order.begin(), order.end(), 0);
  const float* x = floats(c.x);
  // As a sort that never sees a NaN: it stands for the largest number.
  auto key = [&](int32_t i) { return std::isnan(x[i]) ? std::numeric_limits<float>::infinity() : x[i]; };
  std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) { return key(a) > key(b); });
  double total = 0, chosen = 0;
  const double largest = x[order[0]];
  for (int i = 0; i < c.experts; ++i) total += std::exp(x[i] - largest);
  for (int i = 0; i < c.used; ++i) chosen += std::exp(x[order[static_cast<size_t>(i)]] - largest) / total;
  for (int i = 0; i < c.used; ++i) {
    const int32_t id = order[static_cast<size_t>(i)];
    static_cast<int32_t*>(c.ids->data)[i] = id;
    result(c.weights)[i] =
        static_cast<float>(std::exp(x[id] - largest) / total / std::max(chosen, double{c.least_sum}));
  }
}

void run(const MatVecDesc& c) {
  if (c.ids != nullptr) return run_experts(c);
  const int64_t k = c.segment[0].weight->ne[0];
  for (int column = 0; column < c.columns; ++column) {
    const float* from = floats(c.x) + c.x_offset + column * k;
    std::vector<float> x(from, from + k);
    if (c.post_norm) {
      normalise(&x, c.post_gain == nullptr ? nullptr : floats(c.post_gain), c.post_eps);
      const float* addend = floats(c.addend) + c.addend_offset + column * k;
      for (int64_t i = 0; i < k; ++i) x[static_cast<size_t>(i)] += addend[i];
      std::copy(x.begin(), x.end(), result(c.sum) + column * k);
    }
    if (c.norm) normalise(&x, c.gain == nullptr ? nullptr : floats(c.gain), c.eps);
    auto value = [&](int s, int64_t row) {
      const MatVecDesc::Segment& segment = c.segment[s];
      const double y = dot(row_as_f32(segment.weight, segment.first_row + row), x);
      return segment.bias == nullptr ? y : y + floats(segment.bias)[row];
    };
    const int written = c.glu == MatVecDesc::None ? c.segments : 1;
    for (int s = 0; s < written; ++s) {
      const MatVecDesc::Segment& segment = c.segment[s];
      for (int64_t row = 0; row < segment.rows; ++row) {
        double y = value(s, row);
        if (c.glu != MatVecDesc::None) y = gate(y, c.glu) * value(1, row);
        const int64_t at = column * segment.rows + row;
        if (segment.residual != nullptr) y += floats(segment.residual)[at];
        result(segment.out)[at] = static_cast<float>(y);
      }
    }
  }
}

void rotate(const HeadsDesc& c, int32_t position, std::vector<float>* x) {
  const int half = c.n_dims / 2;
  for (int i = 0; i < half; ++i) {
    double theta = position * std::pow(static_cast<double>(c.freq_base), -2.0 * i / c.n_dims);
    if (c.factors != nullptr) theta /= floats(c.factors)[i];
    theta *= c.freq_scale;
    float& a = (*x)[static_cast<size_t>(c.neox ? i : 2 * i)];
    float& b = (*x)[static_cast<size_t>(c.neox ? i + half : 2 * i + 1)];
    const double from_a = a, from_b = b, cosine = std::cos(theta) * c.attn_factor,
                 sine = std::sin(theta) * c.attn_factor;
    a = static_cast<float>(from_a * cosine - from_b * sine);
    b = static_cast<float>(from_a * sine + from_b * cosine);
  }
}

std::vector<float> head_of(const HeadsDesc& c, const HeadsDesc::Input& in, int token, int head,
                           const int32_t* position) {
  const float* from = floats(in.tensor) + in.offset + token * in.token_stride + static_cast<int64_t>(head) * c.head_dim;
  std::vector<float> x(from, from + c.head_dim);
  if (in.norm) normalise(&x, in.gain == nullptr ? nullptr : floats(in.gain), in.eps);
  if (in.rotate) rotate(c, position[token], &x);
  return x;
}

void store(const ggml_tensor* cache, int64_t at, const std::vector<float>& x) {
  if (cache->type == GGML_TYPE_F32) {
    std::copy(x.begin(), x.end(), result(cache) + at);
  } else {
    ggml_fp32_to_fp16_row(x.data(), static_cast<ggml_fp16_t*>(cache->data) + at, static_cast<int64_t>(x.size()));
  }
}

void run(const HeadsDesc& c) {
  const auto* positions = c.positions == nullptr ? nullptr : static_cast<const int32_t*>(c.positions->data);
  for (int t = 0; t < c.q_tokens; ++t) {
    const int32_t* at =
        c.q_positions == nullptr ? nullptr : static_cast<const int32_t*>(c.q_positions->data) + c.q_positions_offset;
    for (int h = 0; h < c.q_heads; ++h) {
      const std::vector<float> x = head_of(c, c.q, t, h, at);
      std::copy(x.begin(), x.end(), result(c.q_out) + (static_cast<int64_t>(t) * c.q_heads + h) * c.head_dim);
    }
  }
  for (int t = 0; t < c.tokens; ++t) {
    const int64_t row = c.rows->type == GGML_TYPE_I64 ? static_cast<const int64_t*>(c.rows->data)[t]
                                                      : static_cast<const int32_t*>(c.rows->data)[t];
    for (int h = 0; h < c.kv_heads; ++h) {
      const int64_t at = (row * c.kv_heads + h) * c.head_dim;
      store(c.k_cache, at, head_of(c, c.k, t, h, positions));
      store(c.v_cache, at, head_of(c, c.v, t, h, positions));
    }
  }
}

void run(const AttentionDesc& c) {
  const int d = c.head_dim, group = c.q_heads / c.kv_heads;
  const auto* keys = static_cast<const ggml_fp16_t*>(c.k_cache->data) + c.k_offset;
  const auto* values = static_cast<const ggml_fp16_t*>(c.v_cache->data) + c.v_offset;
  const auto* mask = c.mask == nullptr ? nullptr : static_cast<const ggml_fp16_t*>(c.mask->data);
  std::vector<float> row(static_cast<size_t>(d));
  for (int t = 0; t < c.tokens; ++t) {
    for (int h = 0; h < c.q_heads; ++h) {
      const int64_t head = h / group;
      const float* q = floats(c.q) + (static_cast<int64_t>(t) * c.q_heads + h) * d;
      double largest = -std::numeric_limits<double>::infinity(), sum = 0;
      std::vector<double> scores(static_cast<size_t>(c.n_kv)), out(static_cast<size_t>(d));
      for (int64_t s = 0; s < c.n_kv; ++s) {
        ggml_fp16_to_fp32_row(keys + s * c.k_row_stride + head * c.k_head_stride, row.data(), d);
        double score = 0;
        for (int i = 0; i < d; ++i) score += static_cast<double>(q[i]) * row[static_cast<size_t>(i)];
        score *= c.scale;
        if (c.softcap > 0) score = c.softcap * std::tanh(score / c.softcap);
        if (mask != nullptr) score += ggml_fp16_to_fp32(mask[t * c.n_kv + s]);
        scores[static_cast<size_t>(s)] = score;
        largest = std::max(largest, score);
      }
      for (int64_t s = 0; s < c.n_kv; ++s) {
        const double p = std::exp(scores[static_cast<size_t>(s)] - largest);
        if (p == 0) continue;
        sum += p;
        ggml_fp16_to_fp32_row(values + s * c.v_row_stride + head * c.v_head_stride, row.data(), d);
        for (int i = 0; i < d; ++i) out[static_cast<size_t>(i)] += p * row[static_cast<size_t>(i)];
      }
      for (int i = 0; i < d; ++i)
        result(c.out)[(static_cast<int64_t>(t) * c.q_heads + h) * d + i] =
            static_cast<float>(out[static_cast<size_t>(i)] / sum);
    }
  }
}

void run(const HeadsAttentionDesc& c) {
  run(c.heads);
  run(c.attention);
}

void run(const CausalMaskDesc& c) {
  for (int t = 0; t < c.tokens; ++t) {
    const int64_t position = static_cast<const int32_t*>(c.positions->data)[t];
    for (int64_t j = 0; j < c.n_kv; ++j) {
      const bool visible = j <= position && (c.window == 0 || position - j < c.window);
      static_cast<ggml_fp16_t*>(c.out->data)[t * c.n_kv + j] = visible ? 0 : 0xfc00;
    }
  }
}

void run(const ArgmaxDesc& c) {
  const int64_t n = c.x->ne[0];
  const float* x = floats(c.x) + (ggml_nrows(c.x) - 1) * n;
  int64_t best = 0;
  for (int64_t i = 0; i < n; ++i) {
    if (std::isnan(x[i])) {
      best = -1;
      break;
    }
    if (x[i] > x[best]) best = i;
  }
  if (best >= 0 && std::isinf(x[best])) best = x[best] < 0 ? -2 : -3;
  *static_cast<int32_t*>(c.out->data) = static_cast<int32_t>(best);
}

void compute(ggml_tensor* node, int thread, int, void*) {
  if (thread != 0) return;
  const KernelDesc* desc = descriptor_of(node);
  switch (desc->kind) {
    case Kind::MatVec:
      return run(*static_cast<const MatVecDesc*>(desc));
    case Kind::Heads:
      return run(*static_cast<const HeadsDesc*>(desc));
    case Kind::Attention:
      return run(*static_cast<const AttentionDesc*>(desc));
    case Kind::HeadsAttention:
      return run(*static_cast<const HeadsAttentionDesc*>(desc));
    case Kind::Route:
      return run(*static_cast<const RouteDesc*>(desc));
    case Kind::CausalMask:
      return run(*static_cast<const CausalMaskDesc*>(desc));
    case Kind::Argmax:
      return run(*static_cast<const ArgmaxDesc*>(desc));
    case Kind::Sample:
      return sample_on_host(*static_cast<const SampleDesc*>(desc));
  }
}

}  // namespace

namespace {

/// EXECUTORCH_GGML_FORMS=cuda80: as on a device without clusters of blocks.
bool together() { return env_string("EXECUTORCH_GGML_FORMS") != "cuda80"; }

}  // namespace

bool HostFallback::supports(const KernelDesc& desc) const {
  switch (desc.kind) {
    case Kind::MatVec: {
      const auto& c = static_cast<const MatVecDesc&>(desc);
      // As on a device: for one column alone.
      if (c.columns != 1 && (c.post_norm || c.ids != nullptr)) return false;
      const ggml_type type = c.segment[0].weight->type;
      return type == GGML_TYPE_F32 || ggml_get_type_traits(type)->to_float != nullptr;
    }
    case Kind::Heads: {
      const auto& c = static_cast<const HeadsDesc&>(desc);
      const ggml_type type = c.k_cache->type;
      return type == c.v_cache->type && (type == GGML_TYPE_F16 || type == GGML_TYPE_F32) && c.n_dims <= c.head_dim;
    }
    case Kind::Attention: {
      const auto& c = static_cast<const AttentionDesc&>(desc);
      return c.k_cache->type == GGML_TYPE_F16 && c.v_cache->type == GGML_TYPE_F16 && c.q_heads % c.kv_heads == 0;
    }
    case Kind::HeadsAttention: {
      const auto& c = static_cast<const HeadsAttentionDesc&>(desc);
      return together() && shares_whole_caches(c) && supports(c.heads) && supports(c.attention);
    }
    case Kind::Route:
    case Kind::CausalMask:
    case Kind::Argmax:
    case Kind::Sample:
      return true;
  }
  return false;
}

ggml_custom_op_t HostFallback::on_host() const { return kernels::guarded_kernel<compute>; }

}  // namespace etggml::fusion
