// Checks of a .pte that ExecuTorch's own verification leaves out, of fields that it then dereferences, calls or writes
// to.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "util/status.h"

namespace etggml::program {

/// data: the beginning of a .pte, after ExecuTorch has verified its FlatBuffer (offsets are in bounds, fields may be
/// missing, numbers may be anything). Checks every table that ExecuTorch 1.5 reads without asking: delegates, values
/// and instructions of every method. ETGGML_FORMAT otherwise.
Status check_pte(const void* data, const std::string& path);

/// n_inputs: of each of our delegates of the method, in order. The other arguments of a delegate's call are results.
/// They must not be constants of the file, because its memory is read-only. ETGGML_FORMAT otherwise.
Status check_delegate_results(const void* data, const std::string& path, const std::string& method,
                              const std::vector<size_t>& n_inputs);

/// How the results of a method were arranged in Python (torch's pytree, as JSON); empty where the file does not say.
/// The file has been checked.
std::string result_structure(const void* data, const std::string& method);

namespace detail {

/// "model.pte, method 'forward'".
struct Place {
  const std::string& path;
  std::string method;

  /// ETGGML_FORMAT: "<place>: <text>; the file is corrupt".
  Status corrupt(const std::string& text) const;
};

/// plan: an ExecutionPlan. Every value has a known kind and its parts, and tensors lie inside their memory.
Status check_values(const void* plan, const Place& place);
/// Every instruction is of a known kind, names operators, delegates, values and instructions that there are, and
/// writes to no constant. Values have been checked.
Status check_instructions(const void* plan, const Place& place);
/// By value: whether it is a constant of the file, or may become one by a move.
std::vector<bool> constants(const void* plan);

}  // namespace detail
}  // namespace etggml::program
