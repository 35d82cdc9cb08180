#include "program/et_log.h"

#include <executorch/runtime/platform/platform.h>
#include <executorch/runtime/platform/runtime.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <mutex>

#include "engine/load_scope.h"
#include "program/executorch_call.h"
#include "util/fork.h"
#include "util/log.h"

namespace etggml::program {
namespace {

constexpr size_t kMaxKept = 2000;  // bytes: a corrupt file can produce a line per byte

std::atomic<pal_emit_log_message_method> previous{nullptr};
std::atomic<pal_abort_method> previous_abort{nullptr};
thread_local std::string errors;

int level_of(et_pal_log_level_t level) {
  switch (level) {
    case kDebug:
      return ETGGML_LOG_DEBUG;
    case kInfo:
      return ETGGML_LOG_INFO;
    default:
      return ETGGML_LOG_ERROR;
  }
}

void emit(et_timestamp_t timestamp, et_pal_log_level_t level, const char* file, const char* function, size_t line,
          const char* message, size_t length) {
  if (!engine::HostCall::active()) {
    if (const auto other = previous.load()) other(timestamp, level, file, function, line, message, length);
    return;
  }
  const std::string text(message, length);
  if ((level == kError || level == kFatal) && errors.size() < kMaxKept) errors += (errors.empty() ? "" : "; ") + text;
  // Errors reach the user in the message of our own Status; as log lines they are detail.
  if (log_enabled())
    log_line(std::min(level_of(level), static_cast<int>(ETGGML_LOG_INFO)), ("ExecuTorch: " + text).c_str());
}

void abort_or_throw() {
  if (engine::HostCall::active()) throw Aborted(take_executorch_errors());
  if (const auto other = previous_abort.load()) other();
  std::abort();
}

}  // namespace

void route_executorch_log() {
  static std::once_flag once;
  std::call_once(once, [] { executorch::runtime::runtime_init(); });
  // The process's own table, changed in place: register_pal() logs an error when somebody has registered before.
  auto* pal = const_cast<executorch::runtime::PalImpl*>(executorch::runtime::get_pal_impl());
  if (pal->emit_log_message == emit && pal->abort == abort_or_throw) return;
  static auto* mutex = new ProcessMutex(65);
  std::lock_guard<ProcessMutex> guard(*mutex);
  if (pal->emit_log_message != emit) {
    previous = pal->emit_log_message;
    pal->emit_log_message = emit;
  }
  if (pal->abort != abort_or_throw) {
    previous_abort = pal->abort;
    pal->abort = abort_or_throw;
  }
}

std::string take_executorch_errors() {
  std::string taken;
  taken.swap(errors);
  return taken;
}

}  // namespace etggml::program
