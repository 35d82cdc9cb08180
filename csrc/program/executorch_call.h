// Calls into ExecuTorch on behalf of a file that may be corrupt. ExecuTorch checks much of a program but aborts the
// process on some other faults (an unknown ScalarType, a failed ET_CHECK). During our calls its abort throws
// instead. The exception crosses ExecuTorch's frames without running their destructors. So a refusal may leak a little
// memory, and nothing worse.
#pragma once

#include <exception>
#include <string>
#include <utility>

#include "engine/load_scope.h"
#include "program/et_log.h"
#include "util/status.h"

namespace etggml::program {

class Aborted : public std::exception {
 public:
  explicit Aborted(std::string why) : why_(std::move(why)) {}
  const char* what() const noexcept override { return why_.c_str(); }

 private:
  std::string why_;
};

/// A call of our own into ExecuTorch: its log lines and aborts are ours meanwhile.
class ExecutorchCall {
 public:
  ExecutorchCall() { route_executorch_log(); }

 private:
  engine::HostCall host_call_;
};

/// Runs `body`, which returns a Status or Result, as a call of our own. An abort of ExecuTorch becomes ETGGML_FORMAT.
template <class Fn>
auto call_executorch(const std::string& path, Fn body) -> decltype(body()) {
  ExecutorchCall call;
  try {
    return body();
  } catch (const Aborted& aborted) {
    return error(ETGGML_FORMAT, "%s: ExecuTorch gave up on this program, it is corrupt: %s", path.c_str(),
                 aborted.what());
  }
}

}  // namespace etggml::program
