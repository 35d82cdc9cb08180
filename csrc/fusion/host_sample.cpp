#include "fusion/host_sample.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>
#include <vector>

namespace etggml::fusion {
namespace {

using Candidate = std::pair<float, int32_t>;  // logit, index

int32_t draw(const std::vector<Candidate>& sorted, const cuda::SampleParams& p) {
  const float top = sorted.front().first;
  auto weight = [&](const Candidate& c, double scale) { return std::exp(static_cast<double>(c.first - top) * scale); };
  size_t n = sorted.size();
  if (p.top_p < 1) {
    double total = 0, sum = 0;
    for (const Candidate& c : sorted) total += weight(c, 1);
    for (size_t i = 0; i < n; ++i) {
      sum += weight(sorted[i], 1);
      if (sum >= p.top_p * total) n = i + 1;
    }
  }
  while (n > 1 && sorted[n - 1].first < top + p.log_min_p) --n;
  double total = 0, sum = 0;
  for (size_t i = 0; i < n; ++i) total += weight(sorted[i], p.scale);
  size_t last = 0;
  for (size_t i = 0; i < n; ++i) {
    const double w = weight(sorted[i], p.scale);
    if (w <= 0) continue;
    last = i;
    sum += w;
    if (sum > p.uniform * total) break;
  }
  return sorted[last].second;
}

int32_t choose(const float* x, int64_t n, const cuda::SampleParams& p) {
  std::vector<Candidate> all;
  bool infinite = false;
  for (int64_t i = 0; i < n; ++i) {
    if (std::isnan(x[i])) return -1;
    infinite = infinite || (std::isinf(x[i]) && x[i] > 0);
    if (!std::isinf(x[i])) all.emplace_back(x[i], static_cast<int32_t>(i));
  }
  if (infinite) return -3;
  if (all.empty()) return -2;
  const auto k = std::min(all.size(), static_cast<size_t>(p.top_k));
  std::partial_sort(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(k), all.end(),
                    [](const Candidate& a, const Candidate& b) {
                      return a.first != b.first ? a.first > b.first : a.second < b.second;
                    });
  all.resize(k);
  return draw(all, p);
}

}  // namespace

void sample_on_host(const cuda::SampleDesc& c) {
  cuda::SampleParams params;
  std::memcpy(&params, c.params->data, sizeof(params));
  const int64_t n = c.x->ne[0];
  const float* last = static_cast<const float*>(c.x->data) + (ggml_nrows(c.x) - 1) * n;
  *static_cast<int32_t*>(c.out->data) = choose(last, n, params);
}

}  // namespace etggml::fusion
