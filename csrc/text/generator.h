// The token loop: sequence, positions and chunks on top of a loaded program, sampling without leaving the library.
//
// The sequence is the truth; the program's states are a cache of a prefix of it. `cached_` counts the tokens with keys
// and values in the cache. The tokens after them are run before the next token is chosen. So:
//   - Forgetting tokens is free. Attention never looks beyond a query's position, so stale entries have no effect.
//   - A failed call is undone by positions alone.
//   - A sequence is run again if somebody else has overwritten its states.
//   - States other than KV caches (recurrent ones) cannot go back: the sequence runs again from their initial values.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "program/program.h"
#include "text/sampler.h"
#include "util/status.h"

namespace etggml::text {

class Generator {
 public:
  /// Options as etggml_generator_create. ETGGML_UNSUPPORTED when the method is no (input_ids int64 [1, n], positions
  /// int64 [n]) -> logits. `program` must outlive the generator.
  static Result<std::unique_ptr<Generator>> create(program::Program& program, const char* options_json);

  /// See etggml_generator_feed. After an error the sequence is unchanged.
  Status feed(const int32_t* tokens, size_t n, const engine::ProgressFn& progress);
  Result<int32_t> next();
  /// See etggml_generator_next_allowed.
  Result<int32_t> next_allowed(const uint32_t* allowed, size_t n_words);
  size_t position() const { return sequence_.size(); }
  /// ETGGML_INVALID_ARGUMENT when n > position().
  Status rewind(size_t n);
  Status logits(const float** data, size_t* n_vocab);

 private:
  Generator(program::Program& program, const SamplerOptions& sampling) : program_(program), sampler_(sampling) {}

  Status inspect();
  Status check_room(size_t count) const;
  /// Brings the cache up to the end of the sequence and makes its logits current.
  Status catch_up(const program::Program::Guard& guard, const engine::ProgressFn& progress);
  Status run(const program::Program::Guard& guard, size_t first, size_t count);
  Result<const float*> current_logits(const program::Program::Guard& guard);
  engine::SamplingRequest sampling_request();
  Result<int32_t> choose(const program::Program::Guard& guard);
  bool only_kv_caches(const program::Program::Guard& guard) const;
  /// The states hold the first n tokens at most; there are no logits.
  void go_back(const program::Program::Guard& guard, size_t n);

  program::Program& program_;
  Sampler sampler_;
  std::string method_ = "forward";
  size_t max_chunk_ = 0;  ///< tokens a call
  int64_t limit_ = 0;     ///< positions the caches hold; 0 = the program does not say
  size_t n_vocab_ = 0;
  std::vector<int32_t> sequence_;
  size_t cached_ = 0;
  bool have_logits_ = false;              ///< output_ holds those of sequence_[cached_ - 1]
  bool chosen_ = false;                   ///< the program has chosen already, and output_ is still on the device
  bool logits_read_ = false;              ///< by logits(), since the last run
  int32_t choice_ = 0;                    ///< cuda::ArgmaxDesc, cuda::SampleDesc
  etggml_tensor output_ = {};             ///< in the program's memory
  uint64_t serial_ = 0;                   ///< Program::serial() after our last call
  std::vector<int64_t> ids_, positions_;  // scratch
  std::vector<float> converted_;          // logits of methods that give F16 or BF16
  std::vector<float> allowed_;            // logits, with -infinity for tokens that are not allowed
};

}  // namespace etggml::text
