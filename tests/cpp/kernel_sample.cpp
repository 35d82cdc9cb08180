// Drawing where the logits are, by its plain form: the token that the host's sampler draws with the same number.
#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "check.h"
#include "fusion/device_kernels.h"
#include "fusion/host_fallback.h"
#include "text/sampler.h"

using namespace etggml;

namespace {

std::mt19937_64 rng(7);
double uniform(double from, double to) { return from + (to - from) * std::uniform_real_distribution<double>()(rng); }
int64_t below(int64_t n) { return static_cast<int64_t>(rng() % static_cast<uint64_t>(n)); }

/// Two rows of which only the last counts; often with equal values, and with impossible tokens.
std::vector<float> logits(int64_t n) {
  std::vector<float> x(static_cast<size_t>(2 * n));
  const double spread = uniform(0.1, 8), coarse = below(2) != 0 ? 4 : 0;
  for (float& v : x) {
    const double value = std::normal_distribution<double>(0, spread)(rng);
    v = static_cast<float>(coarse > 0 ? std::round(value * coarse) / coarse : value);
    if (below(20) == 0) v = -std::numeric_limits<float>::infinity();
  }
  x.back() = 0.0f;  // at least one is possible
  return x;
}

/// One call, computed as ggml-cpu would.
class Draw {
 public:
  explicit Draw(int64_t n) : memory_(ggml_init({size_t{1} << 22, nullptr, false})) {
    logits_ = ggml_new_tensor_2d(memory_, GGML_TYPE_F32, n, 2);
    nodes_ = fusion::sample_nodes(memory_, logits_, support_, store_);
    CHECK(nodes_.node != nullptr && nodes_.params != nullptr);
  }
  ~Draw() { ggml_free(memory_); }
  Draw(const Draw&) = delete;
  Draw& operator=(const Draw&) = delete;

  int32_t operator()(const std::vector<float>& x, const cuda::SampleParams& params) {
    std::copy(x.begin(), x.end(), static_cast<float*>(logits_->data));
    *static_cast<cuda::SampleParams*>(nodes_.params->data) = params;
    support_.on_host()(nodes_.node, 0, 1, nullptr);
    return *static_cast<const int32_t*>(nodes_.node->data);
  }

 private:
  ggml_context* memory_;
  fusion::HostFallback support_;
  fusion::DescStore store_;
  ggml_tensor* logits_ = nullptr;
  fusion::ChoiceNodes nodes_;
};

void same_tokens() {
  for (int round = 0; round < 300; ++round) {
    const int64_t n = 1 + below(2000);
    Draw draw(n);
    text::SamplerOptions options;
    options.temperature = uniform(0.05, 3);
    options.top_k = 1 + below(below(2) != 0 ? 40 : cuda::kMaxTopK);
    if (below(2) != 0) options.top_p = uniform(0.01, 1);
    if (below(2) != 0) options.min_p = uniform(0, 1);
    options.seed = rng() | 1;
    text::Sampler host(options), device(options);
    for (int token = 0; token < 20; ++token) {
      const std::vector<float> x = logits(n);
      const Result<int32_t> want = host.sample(x.data() + n, static_cast<size_t>(n), nullptr, 0);
      cuda::SampleParams params = {};
      CHECK(want.ok() && device.device_draw(&params));
      CHECK(draw(x, params) == *want);
      device.took();
    }
  }
}

void what_cannot_be_drawn() {
  constexpr float kInf = std::numeric_limits<float>::infinity();
  const cuda::SampleParams params = {0.5, 1, 1, -kInf, 5};
  Draw draw(3);
  CHECK(draw({0, 0, 0, 1, NAN, 2}, params) == -1);
  CHECK(draw({0, 0, 0, -kInf, -kInf, -kInf}, params) == -2);
  CHECK(draw({0, 0, 0, 1, kInf, 2}, params) == -3);
  CHECK(draw({NAN, kInf, 0, -kInf, 2, -kInf}, params) == 1);
}

void numbers_are_used_once() {
  text::SamplerOptions options;
  options.temperature = 1;
  options.top_k = 3;
  options.seed = 5;
  text::Sampler sampler(options), other(options);
  cuda::SampleParams a = {}, b = {}, c = {};
  CHECK(sampler.device_draw(&a) && sampler.device_draw(&b) && a.uniform == b.uniform);  // not taken yet
  sampler.took();
  CHECK(sampler.device_draw(&c) && c.uniform != a.uniform);
  // One that the device could not use is the host's.
  const std::vector<float> x = {0.1f, 0.2f, 0.3f, 0.25f};
  CHECK(other.sample(x.data(), 4, nullptr, 0).ok());
  CHECK(*other.sample(x.data(), 4, nullptr, 0) == *sampler.sample(x.data(), 4, nullptr, 0));

  for (const int64_t k : {0, cuda::kMaxTopK + 1}) {
    options.top_k = k;
    CHECK(!text::Sampler(options).device_draw(&a));
  }
  options.top_k = 3;
  options.repeat_penalty = 1.1;
  CHECK(!text::Sampler(options).device_draw(&a));
}

}  // namespace

int main() {
  same_tokens();
  what_cannot_be_drawn();
  numbers_are_used_once();
  return failures() == 0 ? 0 : 1;
}
