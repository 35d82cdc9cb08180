// Programs: load, check, execute.
#include "capi/program.h"

#include <utility>

#include "capi/error.h"
#include "capi/gguf.h"
#include "util/json.h"

using namespace etggml;        // NOLINT: this file is nothing but the boundary
using namespace etggml::capi;  // NOLINT

etggml_status etggml_program_load(const char* pte_path, const etggml_gguf* weights, const char* options_json,
                                  etggml_progress_fn progress, void* user, etggml_program** out) {
  return guard([&]() -> Status {
    if (pte_path == nullptr) return null_pointer("pte_path");
    if (out == nullptr) return null_pointer("out");
    ETGGML_ASSIGN_OR_RETURN(engine::Options options, engine::parse_options(options_json));
    engine::ProgressFn notify;
    if (progress != nullptr) notify = [=](double fraction) { return progress(fraction, user); };
    ETGGML_ASSIGN_OR_RETURN(
        std::unique_ptr<program::Program> program,
        program::Program::load(pte_path, weights == nullptr ? nullptr : weights->files, std::move(options), notify));
    *out = new etggml_program{std::move(program)};
    return ok_status();
  });
}

void etggml_program_free(etggml_program* program) {
  (void)guard([&]() -> Status {
    delete program;
    return ok_status();
  });
}

etggml_status etggml_program_check(const char* pte_path, const etggml_gguf* weights, char** json) {
  return guard([&]() -> Status {
    if (pte_path == nullptr) return null_pointer("pte_path");
    if (json == nullptr) return null_pointer("json");
    ETGGML_ASSIGN_OR_RETURN(const Json report,
                            program::check_program(pte_path, weights == nullptr ? nullptr : weights->files));
    return copy_out(to_text(report), json);
  });
}

etggml_status etggml_program_payloads(const char* pte_path, etggml_payload_fn fn, void* user) {
  return guard([&]() -> Status {
    if (pte_path == nullptr) return null_pointer("pte_path");
    if (fn == nullptr) return null_pointer("fn");
    return program::program_payloads(pte_path, [=](const char* method, size_t index, const void* data, size_t size) {
      fn(method, index, data, size, user);
    });
  });
}

etggml_status etggml_program_info(etggml_program* program, char** json) {
  return guard([&]() -> Status {
    if (program == nullptr) return null_pointer("program");
    if (json == nullptr) return null_pointer("json");
    ETGGML_ASSIGN_OR_RETURN(const program::Program::Guard inside, program->impl->observe());
    ETGGML_ASSIGN_OR_RETURN(const Json info, program->impl->info(inside));
    return copy_out(to_text(info), json);
  });
}

etggml_status etggml_program_execute(etggml_program* program, const char* method, const etggml_tensor* in, size_t n_in,
                                     etggml_tensor* out, size_t* n_out) {
  return guard([&]() -> Status {
    if (program == nullptr) return null_pointer("program");
    if (in == nullptr && n_in > 0) return null_pointer("in");
    if (n_out == nullptr) return null_pointer("n_out");
    if (out == nullptr && *n_out > 0) return null_pointer("out");
    ETGGML_ASSIGN_OR_RETURN(const program::Program::Guard inside, program->impl->enter());
    // Asked before computing: a call must not change states (KV caches) and then fail for want of room.
    ETGGML_ASSIGN_OR_RETURN(const size_t outputs, program->impl->output_count(method));
    const size_t room = *n_out;
    if (room < outputs) {
      *n_out = outputs;
      return error(ETGGML_INVALID_ARGUMENT, "method '%s' has %zu outputs, there is room for %zu",
                   method == nullptr ? "forward" : method, outputs, room);
    }
    ETGGML_RETURN_IF_ERROR(program->impl->execute(inside, method, in, n_in));
    const std::vector<etggml_tensor>& results = program->impl->outputs(inside);
    for (size_t i = 0; i < results.size(); ++i) out[i] = results[i];
    *n_out = results.size();
    return ok_status();
  });
}

etggml_status etggml_program_reset(etggml_program* program) {
  return guard([&]() -> Status {
    if (program == nullptr) return null_pointer("program");
    ETGGML_ASSIGN_OR_RETURN(const program::Program::Guard inside, program->impl->enter());
    return program->impl->reset(inside);
  });
}

void etggml_program_cancel(etggml_program* program) {
  if (program != nullptr) program->impl->cancel();
}

etggml_status etggml_program_stats(etggml_program* program, char** json) {
  return guard([&]() -> Status {
    if (program == nullptr) return null_pointer("program");
    if (json == nullptr) return null_pointer("json");
    return copy_out(to_text(program->impl->stats()), json);
  });
}

etggml_status etggml_program_watch(etggml_program* program, etggml_value_fn fn, void* user) {
  return guard([&]() -> Status {
    if (program == nullptr) return null_pointer("program");
    ETGGML_ASSIGN_OR_RETURN(const program::Program::Guard inside, program->impl->enter());
    engine::WatchFn watch;
    if (fn != nullptr) {
      watch = [=](const char* method, size_t delegate, const engine::Value& value) {
        etggml_value out = {};
        out.struct_size = sizeof out;
        out.method = method;
        out.delegate = delegate;
        out.kind = static_cast<int32_t>(value.kind);
        out.index = value.index;
        out.tensor.dtype = value.dtype;
        out.tensor.ndim = value.rank;
        for (size_t i = 0; i < value.shape.size(); ++i) out.tensor.shape[i] = value.shape[i];
        out.tensor.data = const_cast<void*>(value.data);  // the struct is shared with arguments
        out.tensor.nbytes = value.nbytes;
        fn(&out, user);
      };
    }
    program->impl->watch(inside, std::move(watch));
    return ok_status();
  });
}

etggml_status etggml_program_etdump(etggml_program* program, const char* path) {
  return guard([&]() -> Status {
    if (program == nullptr) return null_pointer("program");
    if (path == nullptr) return null_pointer("path");
    ETGGML_ASSIGN_OR_RETURN(const program::Program::Guard inside, program->impl->enter());
    return program->impl->write_etdump(inside, path);
  });
}
