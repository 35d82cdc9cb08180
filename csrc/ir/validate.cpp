#include "ir/validate.h"

#include <cstdarg>

namespace etggml::ir {

Status Validator::fail(const char* format_text, ...) const {
  va_list args;
  va_start(args, format_text);
  Status status(ETGGML_FORMAT, p_.origin_ + ": " + vformat(format_text, args));
  va_end(args);
  return status;
}

Status Validator::node_fail(uint32_t node, const char* format_text, ...) const {
  va_list args;
  va_start(args, format_text);
  Status status(ETGGML_FORMAT, p_.origin_ + ": " + node_name(g_, node) + ": " + vformat(format_text, args));
  va_end(args);
  return status;
}

Status Validator::version() {
  if (g_.min_reader() > kReaderVersion) {
    return error(ETGGML_UNSUPPORTED,
                 "%s: the graph needs reader version %u, this library has %u; update executorch-ggml",
                 p_.origin_.c_str(), g_.min_reader(), kReaderVersion);
  }
  if (g_.version() == 0 || g_.min_reader() > g_.version()) {
    return fail("version %u with min_reader %u", g_.version(), g_.min_reader());
  }
  return ok_status();
}

Status Validator::run() {
  ETGGML_RETURN_IF_ERROR(version());
  const uint32_t n_nodes = Graph::count(g_.nodes());
  if (n_nodes == 0) return fail("nodes: there are none");
  if (n_nodes > kMaxNodes) return fail("nodes: %u, more than the limit of %u", n_nodes, kMaxNodes);

  ETGGML_RETURN_IF_ERROR(symbol_bounds());
  ETGGML_RETURN_IF_ERROR(expressions());
  ETGGML_RETURN_IF_ERROR(shapes());
  ETGGML_RETURN_IF_ERROR(inputs());
  ETGGML_RETURN_IF_ERROR(symbol_sources());
  ETGGML_RETURN_IF_ERROR(weights());
  ETGGML_RETURN_IF_ERROR(states());
  ETGGML_RETURN_IF_ERROR(constants());
  ETGGML_RETURN_IF_ERROR(expectations());
  ETGGML_RETURN_IF_ERROR(nodes());
  ETGGML_RETURN_IF_ERROR(outputs());
  ETGGML_RETURN_IF_ERROR(effects());
  ETGGML_RETURN_IF_ERROR(liveness());
  ETGGML_RETURN_IF_ERROR(index_flow());
  ETGGML_RETURN_IF_ERROR(check_layout(p_, p_.symbol_min_, ETGGML_FORMAT, " at the symbols' lower bounds"));
  return check_layout(p_, p_.symbol_max_, ETGGML_FORMAT, " at the symbols' upper bounds");
}

}  // namespace etggml::ir
