// How the delegate's init() learns the purpose of its load. ExecuTorch's BackendInitContext has no program or
// session identity and no room for a handle, but init() runs on the thread that called Program::load_method: a
// thread-local scope around that call.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "engine/progress.h"
#include "gguf/file_set.h"
#include "util/status.h"

namespace etggml::weights {
struct Report;
}  // namespace etggml::weights

namespace etggml::engine {

struct Context;

// ExecuTorch's program.h and FlatBuffers' headers of another version cannot be included in one file, so neither can
// headers that need them: this one is used on both sides.
class LoadScope {
 public:
  enum class Mode {
    Run,       ///< load for execution
    Check,     ///< only compare with the weights: fill `report`
    Payloads,  ///< only hand out the payloads
  };

  /// Becomes the thread's current scope until destroyed; scopes nest.
  explicit LoadScope(Mode mode);
  ~LoadScope();
  LoadScope(const LoadScope&) = delete;
  LoadScope& operator=(const LoadScope&) = delete;

  /// The innermost scope of this thread, nullptr under a stock runtime.
  static LoadScope* current();

  const Mode mode;
  std::string origin;                                                              ///< file being loaded, for messages
  std::shared_ptr<Context> context;                                                ///< Run
  std::shared_ptr<const gguf::FileSet> files;                                      ///< Check; may be null
  weights::Report* report = nullptr;                                               ///< Check
  std::function<void(const char* method, const void* data, size_t size)> payload;  ///< Payloads
  ProgressFn progress;                                                             ///< Run; may be empty
  size_t delegates = 0;                                                            ///< counted by init()
  std::vector<size_t> delegate_inputs;                                             ///< Run: number of inputs of each
  Status failure;                                                                  ///< of the first init() that failed

 private:
  LoadScope* outer_;
};

/// Marks this thread as inside a call of our own C ABI into ExecuTorch. That call then collects delegate errors and
/// ExecuTorch's log lines, and ExecuTorch does not print them.
class HostCall {
 public:
  HostCall();
  ~HostCall();
  HostCall(const HostCall&) = delete;
  HostCall& operator=(const HostCall&) = delete;
  static bool active();
};

/// The error of the delegate call that failed last on this thread. ExecuTorch's Error has no message: execute() and
/// init() leave it here, and the caller of ExecuTorch picks it up.
void set_delegate_failure(Status status);
/// Returns and clears it; OK when there is none.
Status take_delegate_failure();

}  // namespace etggml::engine
