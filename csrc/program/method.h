// One method of a .pte, loaded: memory, inputs checked by name and bound before ExecuTorch sees them, outputs in place.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "engine/host_states.h"
#include "executorch_ggml.h"
#include "program/pte_file.h"
#include "program/value_info.h"
#include "util/json.h"
#include "util/stop.h"

namespace executorch::runtime {
class EventTracer;
}

namespace etggml::program {

/// Inputs and outputs of a method without loading it.
Result<std::vector<ValueInfo>> method_inputs(const PteFile& file, const std::string& method);
Result<std::vector<ValueInfo>> method_outputs(const PteFile& file, const std::string& method);
/// {"name", "inputs": [{"name", "kind", "dtype", "shape"}], "outputs": [...]}
Result<Json> method_json(const PteFile& file, const std::string& method);

class LoadedMethod {
 public:
  /// Runs Program::load_method, hence the delegates' init: set a LoadScope first. Errors of our delegates come through
  /// with their message; ETGGML_UNSUPPORTED for an operator or backend that this process does not have, ETGGML_FORMAT
  /// for a malformed method.
  static Result<std::unique_ptr<LoadedMethod>> load(const PteFile& file, const std::string& name,
                                                    executorch::runtime::EventTracer* tracer);

  ~LoadedMethod();
  LoadedMethod(const LoadedMethod&) = delete;
  LoadedMethod& operator=(const LoadedMethod&) = delete;

  const std::string& name() const { return name_; }
  size_t output_count() const;

  /// Data of `in` is used in place during the call. Outputs are valid until the next call.
  /// ETGGML_CANCELLED when `stop` says so between two instructions or inside a delegate.
  Status execute(const etggml_tensor* in, size_t n_in, Stop& stop, std::vector<etggml_tensor>* out);

  /// The buffers in planned memory that the method changes.
  Result<std::vector<engine::HostStates::Place>> states(const PteFile& file) const;

  /// ExecuTorch cannot run a method again that failed in its middle: load it anew.
  bool stuck() const { return failed_; }

 private:
  struct State;  // ExecuTorch's objects

  LoadedMethod();
  static Result<std::unique_ptr<LoadedMethod>> load_now(const PteFile& file, const std::string& name,
                                                        executorch::runtime::EventTracer* tracer);
  Status plan_memory(const PteFile& file);
  // Whether the export fixed the shape of a tensor input. Only after the method was loaded.
  bool is_fixed(size_t index) const;
  Status check_input(size_t index, const etggml_tensor& in) const;
  Status set_input(size_t index, const etggml_tensor& in);
  Status read_output(size_t index, etggml_tensor* out);

  std::string name_;
  std::vector<ValueInfo> inputs_;
  std::unique_ptr<State> state_;
  std::vector<int64_t> int_outputs_;
  std::vector<double> double_outputs_;
  bool failed_ = false;
  bool traced_ = false;
};

}  // namespace etggml::program
