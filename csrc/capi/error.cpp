#include "capi/error.h"

#include <cstdlib>
#include <cstring>

namespace etggml::capi {
namespace {

// A plain buffer beside the string: reporting "out of memory" must not need memory.
struct LastError {
  char text[4096] = "";
};
thread_local LastError last_error;

}  // namespace

etggml_status finish(const Status& status) {
  if (status.ok()) return ETGGML_OK;
  // Long messages (a list of misfits) are cut, at a character boundary of UTF-8.
  size_t n = status.message.size();
  if (n >= sizeof last_error.text) {
    n = sizeof last_error.text - 1;
    while (n > 0 && (static_cast<unsigned char>(status.message[n]) & 0xC0) == 0x80) --n;
  }
  std::memcpy(last_error.text, status.message.data(), n);
  last_error.text[n] = '\0';
  return status.code;
}

Status copy_out(const std::string& text, char** out) {
  char* copy = static_cast<char*>(std::malloc(text.size() + 1));
  if (copy == nullptr) return error(ETGGML_OUT_OF_MEMORY, "out of memory");
  std::memcpy(copy, text.c_str(), text.size() + 1);
  *out = copy;
  return ok_status();
}

}  // namespace etggml::capi

const char* etggml_last_error(void) { return etggml::capi::last_error.text; }

void etggml_string_free(char* string) { std::free(string); }
