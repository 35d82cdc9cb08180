// Choosing the next token from logits.
//
// Order, the one llama.cpp's tools apply, so that settings published for a model mean the same here:
//   1. repetition penalty over the last repeat_last_n tokens: logit > 0 ? logit / penalty : logit * penalty (CTRL,
//      arXiv:1909.05858), once for each distinct token;
//   2. temperature 0: the largest logit, the lowest id on a tie. Everything below is skipped;
//   3. top_k: the k largest logits (lowest ids on a tie);
//   4. top_p: of those, the fewest largest with probabilities (softmax without temperature) of top_p or more in sum;
//   5. min_p: of those, the ones with at least min_p times the probability of the largest;
//   6. softmax(logit / temperature) and one draw.
//
// Sampling inverts the cumulative distribution at u = (x >> 11) * 2^-53. The order is (logit descending, id ascending)
// if steps 3 to 5 sorted the candidates, else the id. x comes from std::mt19937_64, and the C++ standard fixes its
// sequence. So one seed gives the same tokens on every platform, if the logits and exp() agree.
#pragma once

#include <cstddef>
#include <cstdint>
#include <random>
#include <vector>

#include "fusion/sample_params.h"
#include "util/json.h"
#include "util/status.h"

namespace etggml::text {

struct SamplerOptions {
  double temperature = 0;      ///< >= 0; 0 = greedy
  int64_t top_k = 0;           ///< 0 = off
  double top_p = 1;            ///< (0, 1]; 1 = off
  double min_p = 0;            ///< [0, 1]; 0 = off
  double repeat_penalty = 1;   ///< > 0; 1 = off
  int64_t repeat_last_n = 64;  ///< tokens of history the penalty looks at; 0 = off, -1 = all
  uint64_t seed = 0;           ///< 0 = from the operating system

  bool greedy() const { return temperature == 0; }
  bool penalizes() const { return repeat_penalty != 1 && repeat_last_n != 0; }
};

/// The names of the options above, for only_known_keys().
#define ETGGML_SAMPLER_KEYS "temperature", "top_k", "top_p", "min_p", "repeat_penalty", "repeat_last_n", "seed"

/// Reads the sampler's keys of an object and leaves others alone. ETGGML_INVALID_ARGUMENT for wrong types and ranges.
Result<SamplerOptions> read_sampler_options(const Json& object);

struct Candidate {
  float logit;
  int32_t id;
};

/// Not thread safe: the generator advances with every draw.
class Sampler {
 public:
  explicit Sampler(const SamplerOptions& options);

  const SamplerOptions& options() const { return options_; }

  /// The next token. logits: n values, finite or -infinity, at least one finite. history: the tokens so far, oldest
  /// first; ids outside [0, n) are ignored. ETGGML_RANGE for NaN, +infinity or no finite logit: the random sequence has
  /// not advanced then.
  Result<int32_t> sample(const float* logits, size_t n, const int32_t* history, size_t n_history);

  /// The next draw as something that a device can make. False when it cannot: a penalty needs the history, and without
  /// top_k (or with a large one) all logits would have to be sorted. The draw's number stays the next one until took().
  bool device_draw(cuda::SampleParams* params);
  /// The draw was made with that number.
  void took() { next_ = -1; }

 private:
  const float* penalized(const float* logits, size_t n, const int32_t* history, size_t n_history);
  void keep_top_k(size_t k);
  void keep_top_p();
  int32_t draw(const float* logits, size_t n);
  double uniform();

  SamplerOptions options_;
  std::mt19937_64 random_;
  double next_ = -1;                   // the next number, if it is known already
  std::vector<float> penalized_;       // scratch
  std::vector<int32_t> seen_;          // scratch
  std::vector<Candidate> candidates_;  // scratch
  std::vector<double> weights_;        // scratch
};

/// The largest logit's id (the lowest on a tie) in one pass through memory. ETGGML_RANGE as above.
Result<int32_t> argmax(const float* logits, size_t n);

}  // namespace etggml::text
