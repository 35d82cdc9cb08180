#include "engine/load_scope.h"

#include <utility>

namespace etggml::engine {
namespace {

thread_local LoadScope* current_scope = nullptr;
thread_local Status delegate_failure;
thread_local int host_calls = 0;

}  // namespace

LoadScope::LoadScope(Mode m) : mode(m), outer_(current_scope) { current_scope = this; }

LoadScope::~LoadScope() { current_scope = outer_; }

LoadScope* LoadScope::current() { return current_scope; }

HostCall::HostCall() { ++host_calls; }

HostCall::~HostCall() { --host_calls; }

bool HostCall::active() { return host_calls > 0; }

void set_delegate_failure(Status status) { delegate_failure = std::move(status); }

Status take_delegate_failure() {
  Status status = std::move(delegate_failure);
  delegate_failure = Status();
  return status;
}

}  // namespace etggml::engine
