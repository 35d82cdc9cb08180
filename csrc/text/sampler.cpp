#include "text/sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

namespace etggml::text {
namespace {

uint64_t os_seed() {
  std::random_device device;
  return (static_cast<uint64_t>(device()) << 32) | device();
}

// The total order that makes every selection below unique, and so the same with every standard library.
bool before(const Candidate& a, const Candidate& b) { return a.logit != b.logit ? a.logit > b.logit : a.id < b.id; }

}  // namespace

Result<SamplerOptions> read_sampler_options(const Json& object) {
  constexpr double kTiny = 1e-9;
  SamplerOptions options;
  int64_t seed = 0;
  ETGGML_RETURN_IF_ERROR(read_double(object, "temperature", 0, 1000, &options.temperature));
  ETGGML_RETURN_IF_ERROR(read_int(object, "top_k", 0, INT32_MAX, &options.top_k));
  ETGGML_RETURN_IF_ERROR(read_double(object, "top_p", kTiny, 1, &options.top_p));
  ETGGML_RETURN_IF_ERROR(read_double(object, "min_p", 0, 1, &options.min_p));
  ETGGML_RETURN_IF_ERROR(read_double(object, "repeat_penalty", kTiny, 1e6, &options.repeat_penalty));
  ETGGML_RETURN_IF_ERROR(read_int(object, "repeat_last_n", -1, INT32_MAX, &options.repeat_last_n));
  ETGGML_RETURN_IF_ERROR(read_int(object, "seed", 0, INT64_MAX, &seed));
  options.seed = static_cast<uint64_t>(seed);
  // Below this the division overflows floats to infinity; nobody means anything but greedy by it.
  if (options.temperature < 1e-5) options.temperature = 0;
  return options;
}

Sampler::Sampler(const SamplerOptions& options) : options_(options), random_(options.seed ? options.seed : os_seed()) {}

Result<int32_t> Sampler::sample(const float* logits, size_t n, const int32_t* history, size_t n_history) {
  if (logits == nullptr || n == 0 || n > INT32_MAX) return error(ETGGML_INVALID_ARGUMENT, "sampling needs logits");
  if (history == nullptr && n_history > 0) return error(ETGGML_INVALID_ARGUMENT, "the history is NULL, but not empty");
  if (options_.penalizes()) logits = penalized(logits, n, history, n_history);
  ETGGML_ASSIGN_OR_RETURN(const int32_t best, argmax(logits, n));  // also finds NaN
  if (options_.greedy()) return best;

  candidates_.clear();
  const float floor = options_.min_p > 0 ? logits[best] + static_cast<float>(std::log(options_.min_p))
                                         : -std::numeric_limits<float>::infinity();
  const bool narrow = options_.top_k > 0 || options_.top_p < 1 || options_.min_p > 0;
  if (!narrow) return draw(logits, n);

  // min_p only cuts the tail of the sorted list, so where no probability mass is needed it can go first and cheaply.
  const bool floor_first = options_.top_p >= 1;
  for (size_t i = 0; i < n; ++i) {
    if (logits[i] > -std::numeric_limits<float>::infinity() && (!floor_first || logits[i] >= floor)) {
      candidates_.push_back({logits[i], static_cast<int32_t>(i)});
    }
  }
  if (options_.top_k > 0) keep_top_k(static_cast<size_t>(options_.top_k));
  if (options_.top_p < 1) keep_top_p();
  if (!floor_first) {
    const auto below = [floor](const Candidate& c) { return c.logit < floor; };
    candidates_.erase(std::remove_if(candidates_.begin(), candidates_.end(), below), candidates_.end());
  }
  if (!std::is_sorted(candidates_.begin(), candidates_.end(), before))
    std::sort(candidates_.begin(), candidates_.end(), before);
  return draw(nullptr, 0);
}

double Sampler::uniform() {
  if (next_ >= 0) return std::exchange(next_, -1);
  return static_cast<double>(random_() >> 11) * 0x1p-53;
}

bool Sampler::device_draw(cuda::SampleParams* params) {
  if (options_.greedy() || options_.penalizes() || options_.top_k < 1 || options_.top_k > cuda::kMaxTopK) return false;
  next_ = uniform();
  params->uniform = next_;
  params->scale = 1.0 / options_.temperature;
  params->top_p = options_.top_p;
  params->log_min_p =
      options_.min_p > 0 ? static_cast<float>(std::log(options_.min_p)) : -std::numeric_limits<float>::infinity();
  params->top_k = static_cast<int32_t>(options_.top_k);
  return true;
}

const float* Sampler::penalized(const float* logits, size_t n, const int32_t* history, size_t n_history) {
  const size_t reach =
      options_.repeat_last_n < 0 ? n_history : std::min<size_t>(n_history, static_cast<size_t>(options_.repeat_last_n));
  seen_.assign(history + (n_history - reach), history + n_history);
  std::sort(seen_.begin(), seen_.end());
  seen_.erase(std::unique(seen_.begin(), seen_.end()), seen_.end());
  penalized_.assign(logits, logits + n);
  const float penalty = static_cast<float>(options_.repeat_penalty);
  for (int32_t id : seen_) {
    if (id < 0 || static_cast<size_t>(id) >= n) continue;
    float& logit = penalized_[static_cast<size_t>(id)];
    logit = logit > 0 ? logit / penalty : logit * penalty;
  }
  return penalized_.data();
}

void Sampler::keep_top_k(size_t k) {
  if (k >= candidates_.size()) return;
  const auto middle = candidates_.begin() + static_cast<std::ptrdiff_t>(k);
  std::nth_element(candidates_.begin(), middle, candidates_.end(), before);
  candidates_.erase(middle, candidates_.end());
}

// Sorting 152k candidates a token would cost more than a decode step of a small model. The mass nearly always lies in
// the first few. So only as many as needed are sorted, in growing steps.
void Sampler::keep_top_p() {
  float top = candidates_.front().logit;
  for (const Candidate& c : candidates_) top = std::max(top, c.logit);
  double total = 0;
  for (const Candidate& c : candidates_) total += std::exp(static_cast<double>(c.logit - top));
  const double wanted = options_.top_p * total;
  double sum = 0;
  size_t sorted = 0;
  for (size_t step = 64; sorted < candidates_.size(); step *= 8) {
    const size_t end = std::min(candidates_.size(), sorted + step);
    const auto from = candidates_.begin() + static_cast<std::ptrdiff_t>(sorted);
    std::partial_sort(from, candidates_.begin() + static_cast<std::ptrdiff_t>(end), candidates_.end(), before);
    for (; sorted < end; ++sorted) {
      sum += std::exp(static_cast<double>(candidates_[sorted].logit - top));
      if (sum >= wanted) {
        candidates_.resize(sorted + 1);
        return;
      }
    }
  }
}

// logits: all of them are candidates; NULL: candidates_ are.
int32_t Sampler::draw(const float* logits, size_t n) {
  if (logits == nullptr) n = candidates_.size();
  const auto logit = [&](size_t i) { return logits ? logits[i] : candidates_[i].logit; };
  float top = -std::numeric_limits<float>::infinity();
  for (size_t i = 0; i < n; ++i) top = std::max(top, logit(i));
  const double scale = 1.0 / options_.temperature;
  weights_.resize(n);
  double total = 0;
  for (size_t i = 0; i < n; ++i) total += weights_[i] = std::exp(static_cast<double>(logit(i) - top) * scale);
  const double target = uniform() * total;
  double sum = 0;
  size_t last = 0;
  for (size_t i = 0; i < n; ++i) {
    if (weights_[i] <= 0) continue;
    last = i;
    sum += weights_[i];
    if (sum > target) break;
  }
  return logits ? static_cast<int32_t>(last) : candidates_[last].id;
}

}  // namespace etggml::text
