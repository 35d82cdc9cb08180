#include "delegate/errors.h"

#include <executorch/runtime/platform/log.h>

#include "engine/load_scope.h"

namespace etggml::delegate {

using executorch::runtime::Error;

Error to_error(etggml_status code) {
  switch (code) {
    case ETGGML_OK:
      return Error::Ok;
    case ETGGML_IO:
      return Error::AccessFailed;
    case ETGGML_FORMAT:
      return Error::DelegateInvalidCompatibility;
    case ETGGML_BIND:
      return Error::InvalidExternalData;
    case ETGGML_UNSUPPORTED:
    case ETGGML_DEVICE:
      return Error::NotSupported;
    case ETGGML_DTYPE:
      return Error::InvalidType;
    case ETGGML_INVALID_ARGUMENT:
    case ETGGML_SHAPE:
    case ETGGML_RANGE:
      return Error::InvalidArgument;
    case ETGGML_BUSY:
      return Error::InvalidState;
    case ETGGML_OUT_OF_MEMORY:
      return Error::MemoryAllocationFailed;
    case ETGGML_CANCELLED:
    case ETGGML_INTERNAL:
      return Error::Internal;
  }
  return Error::Internal;
}

Error report(const Status& status) {
  if (status.ok()) return Error::Ok;
  // ExecuTorch's log lines are cut at 256 bytes; the C ABI keeps the whole message.
  if (!engine::HostCall::active()) ET_LOG(Error, "GgmlBackend: %s", status.message.c_str());
  engine::set_delegate_failure(status);
  return to_error(status.code);
}

}  // namespace etggml::delegate
