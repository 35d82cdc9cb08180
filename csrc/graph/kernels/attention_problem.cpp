#include "graph/kernels/attention_problem.h"

#include <algorithm>
#include <cmath>

namespace etggml::graph {

/// ggml's ALiBi slopes (soft_max_ext): powers of 2^(-max_bias / n) for the first n heads, n a power of two, then the
/// odd powers of its square root.
float AttentionProblem::slope(int64_t head) const {
  if (params.max_bias <= 0.0f) return 1.0f;
  const auto n = static_cast<float>(1 << static_cast<int>(std::floor(std::log2(static_cast<double>(heads)))));
  const auto h = static_cast<float>(head);
  return h < n ? std::pow(2.0f, -params.max_bias / n * (h + 1))
               : std::pow(2.0f, -params.max_bias / 2.0f / n * (2 * (h - n) + 1));
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

}  // namespace etggml::graph
