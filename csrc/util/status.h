// Status and Result: how every internal function reports failure. Nothing here (or built on it) throws, because the
// callers are a C boundary and an ExecuTorch delegate, neither of which may let an exception through.
#pragma once

#include <cstdarg>
#include <optional>
#include <string>
#include <utility>

#include "executorch_ggml.h"

namespace etggml {

/// ETGGML_OK, or a code with a message: the fault, its file / field / node, and a remedy.
struct [[nodiscard]] Status {
  etggml_status code = ETGGML_OK;
  std::string message;

  Status() = default;
  Status(etggml_status c, std::string m) : code(c), message(std::move(m)) {}

  bool ok() const { return code == ETGGML_OK; }
  explicit operator bool() const { return ok(); }
};

inline Status ok_status() { return Status(); }

/// printf-style. error(ETGGML_FORMAT, "node %u (%s): ...", i, name).
Status error(etggml_status code, const char* format, ...) __attribute__((format(printf, 2, 3)));

/// printf into a std::string.
std::string format(const char* format, ...) __attribute__((format(printf, 1, 2)));
std::string vformat(const char* format, va_list args);

/// Stable name of a code ("ETGGML_BIND"), for messages and logs.
const char* status_name(etggml_status code);

/// A value, or the Status that says why there is none. `Result<T> r = f(); if (!r.ok()) return r.status();`
template <class T>
class [[nodiscard]] Result {
 public:
  Result(T value) : value_(std::move(value)) {}         // NOLINT: implicit on purpose
  Result(Status status) : status_(std::move(status)) {  // NOLINT: implicit on purpose
    if (status_.ok()) status_ = Status(ETGGML_INTERNAL, "a Result was made from an OK status without a value");
  }

  bool ok() const { return value_.has_value(); }
  explicit operator bool() const { return ok(); }

  const Status& status() const { return status_; }
  Status take_status() { return std::move(status_); }

  T& value() { return *value_; }
  const T& value() const { return *value_; }
  T& operator*() { return *value_; }
  const T& operator*() const { return *value_; }
  T* operator->() { return &*value_; }
  const T* operator->() const { return &*value_; }
  T take() { return std::move(*value_); }

 private:
  std::optional<T> value_;
  Status status_;
};

#define ETGGML_CONCAT_(a, b) a##b
#define ETGGML_CONCAT(a, b) ETGGML_CONCAT_(a, b)

/// Leaves the calling function with the Status of `expr` unless it is OK.
#define ETGGML_RETURN_IF_ERROR(expr)                 \
  do {                                               \
    ::etggml::Status etggml_status_ = (expr);        \
    if (!etggml_status_.ok()) return etggml_status_; \
  } while (0)

/// ETGGML_ASSIGN_OR_RETURN(auto x, f()); leaves the calling function with f()'s Status when it has no value.
#define ETGGML_ASSIGN_OR_RETURN(lhs, expr) ETGGML_ASSIGN_OR_RETURN_(ETGGML_CONCAT(etggml_result_, __LINE__), lhs, expr)
#define ETGGML_ASSIGN_OR_RETURN_(tmp, lhs, expr) \
  auto tmp = (expr);                             \
  if (!tmp.ok()) return tmp.take_status();       \
  lhs = tmp.take()

}  // namespace etggml
