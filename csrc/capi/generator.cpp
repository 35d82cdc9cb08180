// The token loop part of the C ABI: a thin skin over text::Generator and text::Sampler.
#include "text/generator.h"

#include "capi/error.h"
#include "capi/program.h"
#include "util/json.h"

struct etggml_generator {
  std::unique_ptr<etggml::text::Generator> impl;
};

using namespace etggml;        // NOLINT: this file is nothing but the boundary
using namespace etggml::capi;  // NOLINT

etggml_status etggml_generator_create(etggml_program* program, const char* options_json, etggml_generator** out) {
  return guard([&]() -> Status {
    if (program == nullptr) return null_pointer("program");
    if (out == nullptr) return null_pointer("out");
    ETGGML_ASSIGN_OR_RETURN(auto impl, text::Generator::create(*program->impl, options_json));
    *out = new etggml_generator{std::move(impl)};
    return ok_status();
  });
}

void etggml_generator_free(etggml_generator* generator) { delete generator; }

etggml_status etggml_generator_feed(etggml_generator* generator, const int32_t* tokens, size_t n,
                                    etggml_progress_fn progress, void* user) {
  return guard([&]() -> Status {
    if (generator == nullptr) return null_pointer("generator");
    engine::ProgressFn report;
    if (progress != nullptr) report = [=](double fraction) { return progress(fraction, user); };
    return generator->impl->feed(tokens, n, report);
  });
}

etggml_status etggml_generator_next(etggml_generator* generator, int32_t* token) {
  return guard([&]() -> Status {
    if (generator == nullptr) return null_pointer("generator");
    if (token == nullptr) return null_pointer("token");
    ETGGML_ASSIGN_OR_RETURN(*token, generator->impl->next());
    return ok_status();
  });
}

etggml_status etggml_generator_next_allowed(etggml_generator* generator, const uint32_t* allowed, size_t n_words,
                                            int32_t* token) {
  return guard([&]() -> Status {
    if (generator == nullptr) return null_pointer("generator");
    if (token == nullptr) return null_pointer("token");
    ETGGML_ASSIGN_OR_RETURN(*token, generator->impl->next_allowed(allowed, n_words));
    return ok_status();
  });
}

size_t etggml_generator_position(const etggml_generator* generator) {
  return generator == nullptr ? 0 : generator->impl->position();
}

etggml_status etggml_generator_rewind(etggml_generator* generator, size_t n) {
  return guard([&]() -> Status {
    if (generator == nullptr) return null_pointer("generator");
    return generator->impl->rewind(n);
  });
}

etggml_status etggml_generator_logits(etggml_generator* generator, const float** logits, size_t* n_vocab) {
  return guard([&]() -> Status {
    if (generator == nullptr) return null_pointer("generator");
    if (logits == nullptr) return null_pointer("logits");
    if (n_vocab == nullptr) return null_pointer("n_vocab");
    return generator->impl->logits(logits, n_vocab);
  });
}

etggml_status etggml_sample(const float* logits, size_t n_vocab, const int32_t* history, size_t n_history,
                            const char* options_json, int32_t* token) {
  return guard([&]() -> Status {
    if (token == nullptr) return null_pointer("token");
    ETGGML_ASSIGN_OR_RETURN(const Json object, parse_object(options_json, "sampling options"));
    ETGGML_RETURN_IF_ERROR(only_known_keys(object, {ETGGML_SAMPLER_KEYS}, "sampling options"));
    ETGGML_ASSIGN_OR_RETURN(const text::SamplerOptions options, text::read_sampler_options(object));
    ETGGML_ASSIGN_OR_RETURN(*token, text::Sampler(options).sample(logits, n_vocab, history, n_history));
    return ok_status();
  });
}
