#include "program/program.h"

#include <executorch/devtools/etdump/etdump_flatcc.h>
#include <sys/stat.h>

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <thread>
#include <utility>

#include "engine/context.h"
#include "engine/executable.h"
#include "engine/load_scope.h"
#include "program/executorch_call.h"
#include "program/method.h"
#include "program/pte_file.h"
#include "util/log.h"
#include "util/scalar_type.h"
#include "util/watched_file.h"

namespace etggml::program {
namespace {

constexpr std::chrono::microseconds kPause(100);

std::string method_name(const char* method) { return method == nullptr || *method == '\0' ? "forward" : method; }

}  // namespace

Result<std::unique_ptr<Program>> Program::load(const std::string& pte, std::shared_ptr<const gguf::FileSet> weights,
                                               engine::Options options, const engine::ProgressFn& progress) {
  std::unique_ptr<Program> program(new Program());
  ETGGML_ASSIGN_OR_RETURN(program->file_, program::PteFile::open(pte, options.data_path));
  if (options.etdump) program->etdump_ = std::make_unique<executorch::etdump::ETDumpGen>();
  const std::vector<std::string> methods = options.methods;
  ETGGML_ASSIGN_OR_RETURN(program->context_, engine::Context::create(std::move(options), std::move(weights), true));
  for (size_t i = 0; i < methods.size(); ++i) {
    engine::ProgressFn share;
    if (progress)
      share = [&, i](double f) { return progress((static_cast<double>(i) + f) / static_cast<double>(methods.size())); };
    ETGGML_RETURN_IF_ERROR(program->load_method(methods[i], share));
  }
  if (progress && !progress(1.0)) return error(ETGGML_CANCELLED, "loading was cancelled");
  return program;
}

Program::~Program() {
  program::ExecutorchCall call;  // ExecuTorch's messages while it tears down belong to us as well
  // Freeing a program that somebody is inside is a mistake, but an easy one to make while a process ends.
  std::unique_lock<std::mutex> lock(busy_, std::try_to_lock);
  // In a child of fork() that somebody may be a thread of the parent that was just going in or out.
  int patience = born_ == forks() ? -1 : 10000;
  while (!lock.owns_lock() && !lost() && patience-- != 0) {
    if (context_ != nullptr) context_->engine->stop().cancel();
    std::this_thread::sleep_for(kPause);
    (void)lock.try_lock();
  }
  if (!lock.owns_lock() || (context_ != nullptr && context_->engine->lost())) {
    // Half of a call, or a device's memory, of the process that this one was forked from.
    for (auto& method : methods_) (void)method.second.release();
    new std::shared_ptr<engine::Context>(context_);
    (void)file_.release();
    (void)etdump_.release();
    return;
  }
  methods_.clear();
}

bool Program::lost() const { return inside_forks_.load() != kNobody && inside_forks_.load() != forks(); }

Status Program::load_method(const std::string& name, const engine::ProgressFn& progress) {
  engine::LoadScope scope(engine::LoadScope::Mode::Run);
  scope.origin = file_->path();
  scope.context = context_;
  scope.progress = progress;
  host_states_.detach(name);
  methods_.erase(name);
  ETGGML_ASSIGN_OR_RETURN(std::unique_ptr<program::LoadedMethod> method,
                          program::LoadedMethod::load(*file_, name, etdump_.get()));
  ETGGML_ASSIGN_OR_RETURN(const std::vector<engine::HostStates::Place> places, method->states(*file_));
  ETGGML_RETURN_IF_ERROR(host_states_.attach(name, places));
  methods_[name] = std::move(method);
  ETGGML_RETURN_IF_ERROR(one_owner());
  log(ETGGML_LOG_DEBUG, "%s: method '%s' loaded, %zu delegates", file_->path().c_str(), name.c_str(), scope.delegates);
  return ok_status();
}

Status Program::one_owner() const {
  const std::vector<engine::HostStates::Info> on_host = host_states_.list();
  for (const engine::StateInfo& state : context_->states->list()) {
    for (const engine::HostStates::Info& other : on_host) {
      if (state.name != other.name) continue;
      return error(ETGGML_BIND,
                   "%s: state '%s' belongs to a delegate in one method and to ExecuTorch in another; lower the methods "
                   "together, with to_edge_rewrite_and_lower",
                   file_->path().c_str(), state.name.c_str());
    }
  }
  return ok_status();
}

Result<Program::Guard> Program::enter() {
  std::unique_lock<std::mutex> lock(busy_, std::try_to_lock);
  while (!lock.owns_lock() && observers_.load() > 0 && !lost()) {
    std::this_thread::sleep_for(kPause);
    (void)lock.try_lock();
  }
  if (lost()) return lost_call();
  if (!lock.owns_lock()) {
    return error(ETGGML_BUSY,
                 "another thread is inside this program; a program runs one call at a time, load it again to run calls "
                 "in parallel (weights are shared)");
  }
  ETGGML_RETURN_IF_ERROR(file_->check_unchanged());
  ETGGML_RETURN_IF_ERROR(context_->engine->survive_fork());
  context_->engine->stop().clear();
  return Guard(this, std::move(lock), nullptr);
}

Result<Program::Guard> Program::observe() {
  // Counted before trying, so that others who find the lock taken know that it is us.
  observers_.fetch_add(1);
  std::shared_ptr<void> observer(this, [](void* self) { static_cast<Program*>(self)->observers_.fetch_sub(1); });
  std::unique_lock<std::mutex> lock(busy_, std::try_to_lock);
  if (lost()) return lost_call();
  if (!lock.owns_lock())
    return error(ETGGML_BUSY, "another thread is inside this program; ask again when its call has ended");
  ETGGML_RETURN_IF_ERROR(file_->check_unchanged());
  ETGGML_RETURN_IF_ERROR(context_->engine->survive_fork());
  return Guard(this, std::move(lock), std::move(observer));
}

Status Program::lost_call() {
  return error(ETGGML_DEVICE,
               "this process was forked while another thread was inside this program, and has only half of that call; "
               "load the program again");
}

Status Program::execute(const Guard&, const char* method, const etggml_tensor* in, size_t n_in) {
  const std::string name = method_name(method);
  outputs_.clear();
  if (n_in > 0) serial_.fetch_add(1, std::memory_order_relaxed);
  auto it = methods_.find(name);
  if (it == methods_.end() || it->second == nullptr || it->second->stuck()) {
    ETGGML_RETURN_IF_ERROR(load_method(name, engine::ProgressFn()));
    it = methods_.find(name);
  }
  host_states_.enter(name);
  const int64_t start = engine::now_ns();
  ETGGML_RETURN_IF_ERROR(it->second->execute(in, n_in, context_->engine->stop(), &outputs_));
  file_->remember((engine::now_ns() - start) / kRememberShare);
  return ok_status();
}

void Program::request_sampling(const Guard&, const engine::SamplingRequest& request) {
  std::lock_guard<std::mutex> engine(context_->engine->mutex());
  context_->sampled = {request, false, 0};
}

bool Program::sampled_token(const Guard&, int32_t* token) const {
  *token = context_->sampled.token;
  return context_->sampled.made;
}

Status Program::finish_outputs(const Guard&) {
  std::lock_guard<std::mutex> engine(context_->engine->mutex());
  return context_->finish_outputs();
}

Result<std::vector<program::ValueInfo>> Program::inputs(const char* method) const {
  program::ExecutorchCall call;
  ETGGML_RETURN_IF_ERROR(file_->check_unchanged());
  return program::method_inputs(*file_, method_name(method));
}

Result<std::vector<program::ValueInfo>> Program::method_outputs(const char* method) const {
  program::ExecutorchCall call;
  ETGGML_RETURN_IF_ERROR(file_->check_unchanged());
  return program::method_outputs(*file_, method_name(method));
}

std::vector<engine::StateInfo> Program::states(const Guard&) const {
  std::vector<engine::StateInfo> all = context_->states->list();
  for (const engine::HostStates::Info& state : host_states_.list()) {
    engine::StateInfo info;
    info.name = state.name;
    info.bytes = state.bytes;
    all.push_back(std::move(info));
  }
  return all;
}

Result<size_t> Program::output_count(const char* method) const {
  program::ExecutorchCall call;
  ETGGML_ASSIGN_OR_RETURN(const std::vector<program::ValueInfo> outputs,
                          program::method_outputs(*file_, method_name(method)));
  return outputs.size();
}

Status Program::reset(const Guard&) {
  std::lock_guard<std::mutex> engine(context_->engine->mutex());
  outputs_.clear();
  serial_.fetch_add(1, std::memory_order_relaxed);
  host_states_.reset();
  return context_->states->reset();
}

void Program::cancel() { context_->engine->stop().cancel(); }

Result<Json> Program::info(const Guard&) const {
  program::ExecutorchCall call;
  Json methods = Json::array();
  for (const std::string& name : file_->methods()) {
    ETGGML_ASSIGN_OR_RETURN(Json method, program::method_json(*file_, name));
    const auto it = methods_.find(name);
    method["loaded"] = it != methods_.end() && it->second != nullptr;
    methods.push_back(std::move(method));
  }
  Json states = Json::array();
  for (const engine::StateInfo& state : context_->states->list()) {
    states.push_back({{"name", state.name},
                      {"type", ggml_type_name(state.type)},
                      {"shape", state.ne},
                      {"bytes", state.bytes},
                      {"kind", state.kv_cache ? "kv_cache" : "state"},
                      {"owner", "delegate"}});
  }
  for (const engine::HostStates::Info& state : host_states_.list()) {
    states.push_back({{"name", state.name},
                      {"type", scalar_name(state.dtype)},
                      {"shape", state.shape},
                      {"bytes", state.bytes},
                      {"kind", "state"},
                      {"owner", "executorch"}});
  }
  engine::WeightTotals weights = context_->weight_totals();
  size_t plans = 0, plan_bytes = 0;
  context_->for_each_executable([&](const engine::Executable& e) {
    size_t count = 0, bytes = 0;
    e.plan_totals(&count, &bytes);
    plans += count;
    plan_bytes += bytes;
  });
  const engine::Engine& engine = *context_->engine;
  return Json{
      {"path", file_->path()},
      {"weights_path", context_->files ? Json(context_->files->path()) : Json()},
      {"methods", methods},
      {"device", engine.device().name},
      {"device_description", engine.device().description},
      {"threads", engine.threads()},
      {"states", states},
      {"calls", serial()},
      {"weights", {{"count", weights.count}, {"bytes", weights.bytes}, {"bytes_private", weights.bytes_private}}},
      {"plans", {{"count", plans}, {"bytes", plan_bytes}}},
      {"arena_bytes", context_->engine->arena().bytes()},
      {"cache_type", ggml_type_name(context_->states->cache_type())}};
}

void Program::watch(const Guard&, engine::WatchFn fn) {
  std::lock_guard<std::mutex> engine(context_->engine->mutex());
  context_->watch = std::move(fn);
}

Json Program::stats() const { return context_->profile.json(); }

Status Program::write_etdump(const Guard&, const std::string& path) {
  if (etdump_ == nullptr)
    return error(ETGGML_INVALID_ARGUMENT, "no ETDump is recorded; load the program with the option \"etdump\": true");
  const executorch::etdump::ETDumpResult dump = etdump_->get_etdump_data();
  Status status;
  // Under another name until it is complete: the old file stays if the disk is full.
  struct stat info;
  const bool in_place = stat(path.c_str(), &info) == 0 && !S_ISREG(info.st_mode);  // a pipe, a device
  const std::string partial = in_place ? path : path + ".partial";
  std::FILE* file = dump.buf == nullptr ? nullptr : std::fopen(partial.c_str(), "wbe");
  if (dump.buf == nullptr) {
    status = error(ETGGML_INVALID_ARGUMENT, "nothing has been recorded yet");
  } else if (file == nullptr) {
    status = error(ETGGML_IO, "%s cannot be written: %s", partial.c_str(), std::strerror(errno));
  } else {
    const bool written = std::fwrite(dump.buf, 1, dump.size, file) == dump.size;
    if (std::fclose(file) != 0 || !written) {
      status = error(ETGGML_IO, "%s could not be written completely: %s", path.c_str(), std::strerror(errno));
      if (!in_place) (void)std::remove(partial.c_str());
    } else if (!in_place && std::rename(partial.c_str(), path.c_str()) != 0) {
      status = error(ETGGML_IO, "%s cannot be written: %s", path.c_str(), std::strerror(errno));
      (void)std::remove(partial.c_str());
    }
  }
  std::free(dump.buf);
  etdump_->reset();
  return status;
}

}  // namespace etggml::program
