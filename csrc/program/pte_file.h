// A .pte opened and verified by ExecuTorch.
#pragma once

#include <executorch/runtime/core/error.h>

#include <memory>
#include <string>
#include <vector>

#include "program/planned_states.h"
#include "util/status.h"

namespace executorch::runtime {
class NamedDataMap;
class Program;
}  // namespace executorch::runtime

namespace etggml::program {

class PteFile {
 public:
  /// data_path: a .ptd with external data, "" = none. ETGGML_IO for files that cannot be read, ETGGML_FORMAT for files
  /// with other contents.
  static Result<std::unique_ptr<PteFile>> open(const std::string& path, const std::string& data_path);

  ~PteFile();
  PteFile(const PteFile&) = delete;
  PteFile& operator=(const PteFile&) = delete;

  const std::string& path() const { return path_; }
  const executorch::runtime::Program& program() const;
  /// The .ptd's data, nullptr without one.
  const executorch::runtime::NamedDataMap* data() const;
  const std::vector<std::string>& methods() const { return methods_; }
  bool has_method(const std::string& name) const;
  /// Buffers that a method changes in ExecuTorch's memory.
  const std::vector<PlannedState>& states(const std::string& method) const;

  /// ETGGML_IO if a file was truncated or rewritten in place since it was opened. Reading its mapping could then end
  /// the process. So ask before ExecuTorch reads the program or its constants, or runs it.
  Status check_unchanged() const;
  /// See gguf::FileSet::remember().
  void remember(int64_t nanoseconds) const;
  /// See host/pte_check.h.
  /// See there, too.
  Result<std::string> result_structure(const std::string& method) const;
  Status check_delegate_results(const std::string& method, const std::vector<size_t>& n_inputs) const;

 private:
  struct Files;  // ExecuTorch's objects: its program.h cannot be included together with FlatBuffers' headers

  PteFile();
  static Result<std::unique_ptr<PteFile>> open_now(const std::string& path, const std::string& data_path);
  Status read_states();
  Status name_states();
  Status read_methods();

  std::string path_;
  std::unique_ptr<Files> files_;
  std::vector<std::string> methods_;
  PlannedStates states_;
};

/// Text of an ExecuTorch error with its log lines of this thread: "InvalidProgram (0x23): ...".
std::string describe(executorch::runtime::Error error);

}  // namespace etggml::program
