#include "util/status.h"

#include <cstdio>

namespace etggml {

std::string vformat(const char* format, va_list args) {
  va_list again;
  va_copy(again, args);
  const int length = vsnprintf(nullptr, 0, format, args);
  std::string text;
  if (length > 0) {
    text.resize(static_cast<size_t>(length) + 1);
    vsnprintf(&text[0], text.size(), format, again);
    text.resize(static_cast<size_t>(length));
  }
  va_end(again);
  return text;
}

std::string format(const char* format, ...) {
  va_list args;
  va_start(args, format);
  std::string text = vformat(format, args);
  va_end(args);
  return text;
}

Status error(etggml_status code, const char* format, ...) {
  va_list args;
  va_start(args, format);
  Status status(code, vformat(format, args));
  va_end(args);
  return status;
}

const char* status_name(etggml_status code) {
  switch (code) {
    case ETGGML_OK:
      return "ETGGML_OK";
    case ETGGML_INVALID_ARGUMENT:
      return "ETGGML_INVALID_ARGUMENT";
    case ETGGML_IO:
      return "ETGGML_IO";
    case ETGGML_FORMAT:
      return "ETGGML_FORMAT";
    case ETGGML_BIND:
      return "ETGGML_BIND";
    case ETGGML_UNSUPPORTED:
      return "ETGGML_UNSUPPORTED";
    case ETGGML_SHAPE:
      return "ETGGML_SHAPE";
    case ETGGML_DTYPE:
      return "ETGGML_DTYPE";
    case ETGGML_RANGE:
      return "ETGGML_RANGE";
    case ETGGML_DEVICE:
      return "ETGGML_DEVICE";
    case ETGGML_BUSY:
      return "ETGGML_BUSY";
    case ETGGML_OUT_OF_MEMORY:
      return "ETGGML_OUT_OF_MEMORY";
    case ETGGML_CANCELLED:
      return "ETGGML_CANCELLED";
    case ETGGML_INTERNAL:
      return "ETGGML_INTERNAL";
  }
  return "ETGGML_?";
}

}  // namespace etggml
