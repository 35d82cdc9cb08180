#include "util/log.h"

#include <cstdarg>
#include <mutex>
#include <string>

#include "ggml.h"
#include "util/fork.h"
#include "util/status.h"

namespace etggml {
namespace {

struct Sink {
  ProcessMutex mutex{100};
  etggml_log_fn fn = nullptr;
  void* user = nullptr;
  // ggml sends fragments: text is gathered here until a newline ends the line.
  std::string ggml_line;
  int ggml_level = ETGGML_LOG_INFO;
};

// Never destroyed: ggml's worker threads may log while the process is shutting down.
Sink& sink() {
  static Sink* instance = new Sink();
  return *instance;
}

int level_of(ggml_log_level level) {
  switch (level) {
    case GGML_LOG_LEVEL_DEBUG:
      return ETGGML_LOG_DEBUG;
    case GGML_LOG_LEVEL_WARN:
      return ETGGML_LOG_WARNING;
    case GGML_LOG_LEVEL_ERROR:
      return ETGGML_LOG_ERROR;
    default:
      return ETGGML_LOG_INFO;
  }
}

void on_ggml_log(ggml_log_level level, const char* text, void*) {
  std::string line;
  int line_level;
  {
    Sink& s = sink();
    std::lock_guard<ProcessMutex> guard(s.mutex);
    if (s.fn == nullptr) return;
    if (level != GGML_LOG_LEVEL_CONT) s.ggml_level = level_of(level);
    s.ggml_line += text;
    if (s.ggml_line.empty() || s.ggml_line.back() != '\n') return;
    line.swap(s.ggml_line);
    line_level = s.ggml_level;
  }
  while (!line.empty() && line.back() == '\n') line.pop_back();
  if (!line.empty()) log_line(line_level, line.c_str());
}

}  // namespace

void set_log_sink(etggml_log_fn fn, void* user) {
  Sink& s = sink();
  std::lock_guard<ProcessMutex> guard(s.mutex);
  s.fn = fn;
  s.user = user;
}

bool log_enabled() {
  Sink& s = sink();
  std::lock_guard<ProcessMutex> guard(s.mutex);
  return s.fn != nullptr;
}

void log_line(int level, const char* message) {
  etggml_log_fn fn;
  void* user;
  {
    Sink& s = sink();
    std::lock_guard<ProcessMutex> guard(s.mutex);
    fn = s.fn;
    user = s.user;
  }
  // Outside the lock: the receiver may well log, or replace the sink, itself.
  if (fn != nullptr) fn(level, message, user);
}

void log(etggml_log_level level, const char* format, ...) {
  if (!log_enabled()) return;
  va_list args;
  va_start(args, format);
  std::string text = vformat(format, args);
  va_end(args);
  while (!text.empty() && text.back() == '\n') text.pop_back();
  log_line(level, text.c_str());
}

void route_ggml_log() {
  static std::once_flag once;
  std::call_once(once, [] { ggml_log_set(on_ggml_log, nullptr); });
}

}  // namespace etggml
