#include "kernels/attention_problem.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace etggml::kernels {

/// ggml's ALiBi slopes (soft_max_ext): powers of 2^(-max_bias / n) for the first n heads, n a power of two, then the
/// odd powers of its square root.
float AttentionProblem::slope(int64_t head) const {
  if (params.max_bias <= 0.0f) return 1.0f;
  const auto n = static_cast<float>(1 << static_cast<int>(std::floor(std::log2(static_cast<double>(heads)))));
  const auto h = static_cast<float>(head);
  return h < n ? std::pow(2.0f, -params.max_bias / n * (h + 1))
               : std::pow(2.0f, -params.max_bias / 2.0f / n * (2 * (h - n) + 1));
}

int64_t AttentionProblem::counted(int64_t query) const {
  if (params.hidden == HiddenKeys::kPassed) return 0;
  if (params.hidden == HiddenKeys::kCounted) return positions;
  // torch reads keys so many at a time, and all of those of which a query sees one.
  constexpr int64_t kBlock = 512;
  return (query / kBlock + 1) * kBlock;
}

bool AttentionProblem::is_tame(const float* x, int64_t n) {
  // A product of two, a thousand times, is far from the largest float. Numbers that are not finite have larger bits.
  constexpr int32_t kLimit = 0x58635fa9;  // 1e15
  int32_t top = 0;
  for (int64_t i = 0; i < n; ++i) {
    int32_t bits;
    std::memcpy(&bits, x + i, sizeof(bits));
    bits &= 0x7fffffff;
    top = bits > top ? bits : top;
  }
  return top < kLimit;
}

bool AttentionProblem::is_tame(int64_t unit, int64_t s, int n) const {
  const auto halves_are_finite = [](const char* row, int64_t count) {
    const auto* x = reinterpret_cast<const ggml_fp16_t*>(row);
    int top = 0;
    for (int64_t i = 0; i < count; ++i) top = std::max(top, x[i] & 0x7c00);
    return top < 0x7c00;
  };
  for (int64_t i = s; i < s + n; ++i) {
    const char *k_row = key(unit, i), *v_row = value(unit, i);
    const bool tame = k->type == GGML_TYPE_F16 ? halves_are_finite(k_row, dk) && halves_are_finite(v_row, dv)
                                               : is_tame(reinterpret_cast<const float*>(k_row), dk) &&
                                                     is_tame(reinterpret_cast<const float*>(v_row), dv);
    if (!tame) return false;
  }
  return true;
}

void AttentionProblem::load_queries(int64_t unit, int64_t from, int64_t to, float* out, float* slopes) const {
  const float factor = params.softcap != 0.0f ? params.scale / params.softcap : params.scale;
  for (int64_t query = from; query < to; ++query) {
    for (int64_t g = 0; g < group; ++g, out += dk) {
      const int64_t head = head_of(unit, g);
      const auto* x = reinterpret_cast<const float*>(row(q, head, batch_of(unit), query));
      for (int d = 0; d < dk; ++d) out[d] = x[d] * factor;
      *slopes++ = slope(head);
    }
  }
}

void AttentionProblem::write_result(int64_t head, const float* acc, float max, float sum, float* out) const {
  float factor = 1.0f;
  if (sinks) {
    const float sink = static_cast<const float*>(sinks->data)[head], top = std::max(max, sink);
    factor = std::exp(max - top);
    sum = sum * factor + std::exp(sink - top);
  }
  factor = sum == 0.0f ? 0.0f : factor / sum;  // a query that sees nothing
  for (int d = 0; d < dv; ++d) out[d] = acc[d] * factor;
}

}  // namespace etggml::kernels
