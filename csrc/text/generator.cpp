#include "text/generator.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "ggml.h"
#include "program/value_info.h"
#include "util/log.h"
#include "util/scalar_type.h"

namespace etggml::text {
namespace {

// The value of a constant method such as get_max_seq_len, or 0 when the .pte has none.
int64_t constant(program::Program& program, const program::Program::Guard& guard, const char* name) {
  if (!program.inputs(name).ok() || !program.execute(guard, name, nullptr, 0).ok()) return 0;
  const std::vector<etggml_tensor>& out = program.outputs(guard);
  return out.size() == 1 && out[0].ndim == -1 ? *static_cast<const int64_t*>(out[0].data) : 0;
}

etggml_tensor int64_tensor(std::vector<int64_t>& values, bool batched) {
  etggml_tensor tensor = {};
  tensor.dtype = kInt64;
  tensor.ndim = batched ? 2 : 1;
  tensor.shape[0] = batched ? 1 : static_cast<int64_t>(values.size());
  if (batched) tensor.shape[1] = static_cast<int64_t>(values.size());
  tensor.data = values.data();
  tensor.nbytes = values.size() * sizeof(int64_t);
  return tensor;
}

Status read_options(const Json& object, std::string* method, size_t* max_chunk) {
  ETGGML_RETURN_IF_ERROR(only_known_keys(object, {ETGGML_SAMPLER_KEYS, "method", "max_chunk"}, "generator options"));
  int64_t chunk = 0;
  ETGGML_RETURN_IF_ERROR(read_string(object, "method", method));
  ETGGML_RETURN_IF_ERROR(read_int(object, "max_chunk", 0, INT32_MAX, &chunk));
  *max_chunk = static_cast<size_t>(chunk);
  return ok_status();
}

}  // namespace

Result<std::unique_ptr<Generator>> Generator::create(program::Program& program, const char* options_json) {
  ETGGML_ASSIGN_OR_RETURN(const Json object, parse_object(options_json, "generator options"));
  ETGGML_ASSIGN_OR_RETURN(const SamplerOptions sampling, read_sampler_options(object));
  std::unique_ptr<Generator> generator(new Generator(program, sampling));
  ETGGML_RETURN_IF_ERROR(read_options(object, &generator->method_, &generator->max_chunk_));
  ETGGML_RETURN_IF_ERROR(generator->inspect());
  return generator;
}

Status Generator::inspect() {
  ETGGML_ASSIGN_OR_RETURN(const std::vector<program::ValueInfo> inputs, program_.inputs(method_.c_str()));
  ETGGML_ASSIGN_OR_RETURN(const std::vector<program::ValueInfo> outputs, program_.method_outputs(method_.c_str()));
  const bool fits = inputs.size() == 2 && inputs[0].dtype == kInt64 && inputs[0].bound.size() == 2 &&
                    inputs[0].bound[0] == 1 && inputs[1].dtype == kInt64 && inputs[1].bound.size() == 1 &&
                    outputs.size() == 1 && outputs[0].bound.size() == 3 && outputs[0].bound[0] == 1;
  if (!fits) {
    return error(
        ETGGML_UNSUPPORTED,
        "method '%s' is no language model: a token loop needs (input_ids int64 [1, n], positions int64 [n]) -> logits "
        "[1, 1 or n, vocabulary]",
        method_.c_str());
  }
  const int32_t dtype = outputs[0].dtype;
  if (dtype != kFloat && dtype != kHalf && dtype != kBFloat16) {
    return error(ETGGML_UNSUPPORTED, "method '%s' gives logits of type %s; float, half and bfloat16 can be sampled",
                 method_.c_str(), scalar_name(dtype));
  }
  const size_t bound = static_cast<size_t>(std::max<int64_t>(1, std::min(inputs[0].bound[1], inputs[1].bound[0])));
  max_chunk_ = max_chunk_ == 0 ? bound : std::min(max_chunk_, bound);
  n_vocab_ = static_cast<size_t>(outputs[0].bound[2]);

  ETGGML_ASSIGN_OR_RETURN(const program::Program::Guard guard, program_.enter());
  limit_ = constant(program_, guard, "get_max_context_len");
  if (limit_ <= 0) limit_ = constant(program_, guard, "get_max_seq_len");
  return ok_status();
}

Status Generator::check_room(size_t count) const {
  if (limit_ <= 0 || sequence_.size() + count <= static_cast<size_t>(limit_)) return ok_status();
  return error(ETGGML_RANGE,
               "a sequence of %zu tokens does not fit the %lld positions of the cache; shorten it, rewind, or export "
               "the model with a "
               "larger max_seq_len",
               sequence_.size() + count, static_cast<long long>(limit_));
}

Status Generator::feed(const int32_t* tokens, size_t n, const engine::ProgressFn& progress) {
  if (tokens == nullptr && n > 0) return error(ETGGML_INVALID_ARGUMENT, "tokens is NULL");
  for (size_t i = 0; i < n; ++i) {
    if (tokens[i] < 0 || static_cast<size_t>(tokens[i]) >= n_vocab_) {
      return error(ETGGML_RANGE, "token %zu is %d; the model has tokens 0 to %zu", i, tokens[i], n_vocab_ - 1);
    }
  }
  if (n == 0 && sequence_.empty())
    return error(ETGGML_INVALID_ARGUMENT, "there is nothing to run: the sequence is empty");
  ETGGML_RETURN_IF_ERROR(check_room(n));
  ETGGML_ASSIGN_OR_RETURN(const program::Program::Guard guard, program_.enter());
  const size_t before = sequence_.size();
  const size_t cached = cached_;
  sequence_.insert(sequence_.end(), tokens, tokens + n);
  const Status status = catch_up(guard, progress);
  if (!status.ok()) {
    sequence_.resize(before);
    // The cache is intact; only the logits are gone. So the last token is run again when they are requested.
    go_back(guard, std::min({cached, cached_, before - (before > 0 ? 1 : 0)}));
  }
  return status;
}

Result<int32_t> Generator::next() {
  if (sequence_.empty())
    return error(ETGGML_INVALID_ARGUMENT, "there is no sequence to continue; feed at least one token");
  ETGGML_RETURN_IF_ERROR(check_room(0));
  ETGGML_ASSIGN_OR_RETURN(const program::Program::Guard guard, program_.enter());
  ETGGML_RETURN_IF_ERROR(catch_up(guard, engine::ProgressFn()));
  ETGGML_ASSIGN_OR_RETURN(const int32_t token, choose(guard));
  sequence_.push_back(token);
  return token;
}

Result<int32_t> Generator::choose(const program::Program::Guard& guard) {
  if (chosen_ && choice_ >= 0) {
    if (!sampler_.options().greedy()) {
      // A draw is good for one token; should this one be taken back, the host draws the next from the same logits.
      chosen_ = false;
      sampler_.took();
    }
    return choice_;
  }
  // Also if the device could not choose: the host's search finds the reason.
  ETGGML_ASSIGN_OR_RETURN(const float* logits, current_logits(guard));
  return sampler_.sample(logits, n_vocab_, sequence_.data(), sequence_.size());
}

Result<int32_t> Generator::next_allowed(const uint32_t* allowed, size_t n_words) {
  if (allowed == nullptr) return error(ETGGML_INVALID_ARGUMENT, "allowed is NULL");
  if (sequence_.empty())
    return error(ETGGML_INVALID_ARGUMENT, "there is no sequence to continue; feed at least one token");
  ETGGML_RETURN_IF_ERROR(check_room(0));
  ETGGML_ASSIGN_OR_RETURN(const program::Program::Guard guard, program_.enter());
  logits_read_ = true;  // the choice is made here, so the logits come along with the run
  ETGGML_RETURN_IF_ERROR(catch_up(guard, engine::ProgressFn()));
  ETGGML_ASSIGN_OR_RETURN(const float* logits, current_logits(guard));
  allowed_.assign(logits, logits + n_vocab_);
  size_t left = 0;
  for (size_t i = 0; i < n_vocab_; ++i) {
    if (i / 32 < n_words && (allowed[i / 32] >> (i % 32) & 1) != 0) {
      ++left;
    } else if (allowed_[i] < INFINITY) {  // NaN and +infinity stay, so that the sampler finds them
      allowed_[i] = -INFINITY;
    }
  }
  if (left == 0) return error(ETGGML_RANGE, "none of the %zu tokens is allowed", n_vocab_);
  ETGGML_ASSIGN_OR_RETURN(const int32_t token,
                          sampler_.sample(allowed_.data(), n_vocab_, sequence_.data(), sequence_.size()));
  if (!sampler_.options().greedy()) chosen_ = false;  // a choice of the device would use the same draw again
  sequence_.push_back(token);
  return token;
}

Status Generator::rewind(size_t n) {
  if (n > sequence_.size()) {
    return error(ETGGML_INVALID_ARGUMENT, "the sequence has %zu tokens; it cannot be rewound to %zu", sequence_.size(),
                 n);
  }
  if (n < cached_) {
    ETGGML_ASSIGN_OR_RETURN(const program::Program::Guard guard, program_.enter());
    go_back(guard, n > 0 ? n - 1 : 0);  // the last token that stays is run again for its logits
  }
  sequence_.resize(n);
  return ok_status();
}

Status Generator::logits(const float** data, size_t* n_vocab) {
  ETGGML_ASSIGN_OR_RETURN(const program::Program::Guard guard, program_.enter());
  if (!have_logits_ || serial_ != program_.serial()) {
    return error(ETGGML_INVALID_ARGUMENT,
                 "there are no current logits: feed tokens first (any other call on the program discards them)");
  }
  ETGGML_ASSIGN_OR_RETURN(*data, current_logits(guard));
  *n_vocab = n_vocab_;
  logits_read_ = true;
  return ok_status();
}

Status Generator::catch_up(const program::Program::Guard& guard, const engine::ProgressFn& progress) {
  if (serial_ != program_.serial()) {
    if (cached_ > 0)
      log(ETGGML_LOG_INFO, "another call has used the program since; the sequence of %zu tokens is run again",
          sequence_.size());
    cached_ = 0;
    have_logits_ = false;
  }
  if (cached_ == sequence_.size() && !have_logits_) go_back(guard, cached_ - 1);
  const size_t start = cached_;
  while (cached_ < sequence_.size()) {
    const size_t count = std::min(max_chunk_, sequence_.size() - cached_);
    ETGGML_RETURN_IF_ERROR(run(guard, cached_, count));
    cached_ += count;
    const double fraction = static_cast<double>(cached_ - start) / static_cast<double>(sequence_.size() - start);
    if (progress && !progress(fraction))
      return error(ETGGML_CANCELLED, "cancelled after %zu of %zu tokens", cached_ - start, sequence_.size() - start);
  }
  return ok_status();
}

Status Generator::run(const program::Program::Guard& guard, size_t first, size_t count) {
  // A sequence begins, but states without positions still hold the end of the last one.
  if (first == 0 && !only_kv_caches(guard)) ETGGML_RETURN_IF_ERROR(program_.reset(guard));
  ids_.assign(sequence_.begin() + static_cast<std::ptrdiff_t>(first),
              sequence_.begin() + static_cast<std::ptrdiff_t>(first + count));
  positions_.resize(count);
  std::iota(positions_.begin(), positions_.end(), static_cast<int64_t>(first));
  const etggml_tensor in[2] = {int64_tensor(ids_, true), int64_tensor(positions_, false)};
  have_logits_ = false;
  // Only the last token's logits are looked at.
  if (first + count == sequence_.size()) program_.request_sampling(guard, sampling_request());
  const Status status = program_.execute(guard, method_.c_str(), in, 2);
  chosen_ = status.ok() && program_.sampled_token(guard, &choice_);
  program_.request_sampling(guard, engine::SamplingRequest());
  serial_ = program_.serial();
  // A call that failed may have moved the states: those that are no caches of positions are lost.
  if (!status.ok()) go_back(guard, first);
  ETGGML_RETURN_IF_ERROR(status);
  // Kept, because a method without inputs (get_vocab_size, ...) may run before they are read. It replaces the program's
  // list of outputs, but not this method's memory.
  if (program_.outputs(guard).size() != 1) return error(ETGGML_INTERNAL, "method '%s' gave no logits", method_.c_str());
  output_ = program_.outputs(guard)[0];
  have_logits_ = true;
  return ok_status();
}

engine::SamplingRequest Generator::sampling_request() {
  engine::SamplingRequest request;
  if (sampler_.options().greedy()) {
    // A penalty changes the logits first.
    if (!sampler_.options().penalizes()) request.how = engine::Sampling::Greedy;
  } else if (sampler_.device_draw(&request.params)) {
    request.how = engine::Sampling::Sample;
  }
  // A caller who read the logits of the last step will read these too. So they come along with the token: a second wait
  // would cost more than their copy.
  request.outputs = std::exchange(logits_read_, false);
  return request;
}

bool Generator::only_kv_caches(const program::Program::Guard& guard) const {
  const std::vector<engine::StateInfo> states = program_.states(guard);
  return std::all_of(states.begin(), states.end(), [](const engine::StateInfo& state) { return state.kv_cache; });
}

void Generator::go_back(const program::Program::Guard& guard, size_t n) {
  cached_ = only_kv_caches(guard) ? n : 0;
  have_logits_ = false;
}

Result<const float*> Generator::current_logits(const program::Program::Guard& guard) {
  const etggml_tensor& logits = output_;
  ETGGML_RETURN_IF_ERROR(program_.finish_outputs(guard));
  if (logits.ndim != 3 || logits.shape[0] != 1 || logits.shape[1] < 1 || logits.shape[2] < 1) {
    return error(ETGGML_INTERNAL, "method '%s' gave no logits", method_.c_str());
  }
  n_vocab_ = static_cast<size_t>(logits.shape[2]);
  const size_t offset = static_cast<size_t>(logits.shape[1] - 1) * n_vocab_;  // of the last position
  if (logits.dtype == kFloat) return static_cast<const float*>(logits.data) + offset;
  converted_.resize(n_vocab_);
  if (logits.dtype == kHalf) {
    ggml_fp16_to_fp32_row(static_cast<const ggml_fp16_t*>(logits.data) + offset, converted_.data(),
                          static_cast<int64_t>(n_vocab_));
  } else if (logits.dtype == kBFloat16) {
    ggml_bf16_to_fp32_row(static_cast<const ggml_bf16_t*>(logits.data) + offset, converted_.data(),
                          static_cast<int64_t>(n_vocab_));
  } else {
    return error(ETGGML_UNSUPPORTED, "logits of type %s cannot be sampled", scalar_name(logits.dtype));
  }
  return converted_.data();
}

}  // namespace etggml::text
