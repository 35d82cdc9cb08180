#include "program/pte_file.h"

#include <executorch/extension/data_loader/buffer_data_loader.h>
#include <executorch/extension/flat_tensor/flat_tensor_data_map.h>
#include <executorch/runtime/executor/program.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "engine/load_scope.h"
#include "program/et_log.h"
#include "program/executorch_call.h"
#include "program/host_kernels.h"
#include "program/ptd_check.h"
#include "program/pte_check.h"
#include "util/mapping.h"

namespace etggml::program {
namespace {

using executorch::extension::BufferDataLoader;
using executorch::extension::FlatTensorDataMap;
using executorch::runtime::Error;
using executorch::runtime::Program;

// Named data in which the exporter lists states (executorch_ggml/lowered_program.py).
constexpr const char* kStatesKey = "executorch_ggml.states";

// A file as ExecuTorch reads it: from one mapping. Its own loader maps pieces whenever a method is loaded, which fails
// when the host has closed all descriptors, and opens anything that the path names by then.
class MappedFile {
 public:
  Status open(const std::string& path, const char* kind) {
    ETGGML_ASSIGN_OR_RETURN(mapping_, Mapping::open(path, kind));
    loader_ = std::make_unique<BufferDataLoader>(mapping_->base(), static_cast<size_t>(mapping_->size()));
    return ok_status();
  }

  BufferDataLoader* loader() const { return loader_.get(); }

  /// nullptr before open().
  const WatchedFile* file() const { return mapping_ == nullptr ? nullptr : &mapping_->file(); }

  /// Shows `look` the whole file.
  Status read(const std::function<Status(const void* data, size_t size)>& look) const {
    return look(mapping_->base(), static_cast<size_t>(mapping_->size()));
  }

 private:
  std::unique_ptr<Mapping> mapping_;
  std::unique_ptr<BufferDataLoader> loader_;
};

}  // namespace

// Order matters: a Program reads from its loader until it is destroyed.
struct PteFile::Files {
  MappedFile pte, ptd;
  std::unique_ptr<FlatTensorDataMap> data;
  std::unique_ptr<Program> program;
};

PteFile::PteFile() : files_(std::make_unique<Files>()) {}
PteFile::~PteFile() = default;

const Program& PteFile::program() const { return *files_->program; }

const executorch::runtime::NamedDataMap* PteFile::data() const { return files_->data.get(); }

std::string describe(Error error) {
  const std::string log = take_executorch_errors();
  const char* name = executorch::runtime::to_string(error);
  const std::string text =
      format("%s (0x%x)", std::strncmp(name, "Error::", 7) == 0 ? name + 7 : name, static_cast<unsigned>(error));
  return log.empty() ? text : text + ": " + log;
}

Result<std::unique_ptr<PteFile>> PteFile::open(const std::string& path, const std::string& data_path) {
  ensure_cpu_kernels();
  return call_executorch(path, [&] { return open_now(path, data_path); });
}

Result<std::unique_ptr<PteFile>> PteFile::open_now(const std::string& path, const std::string& data_path) {
  take_executorch_errors();
  std::unique_ptr<PteFile> file(new PteFile());
  file->path_ = path;
  Files& files = *file->files_;
  ETGGML_RETURN_IF_ERROR(files.pte.open(path, "an ExecuTorch program"));
  auto program = Program::load(files.pte.loader(), Program::Verification::InternalConsistency);
  if (!program.ok()) {
    return error(ETGGML_FORMAT, "%s is not a usable ExecuTorch program: %s", path.c_str(),
                 describe(program.error()).c_str());
  }
  files.program = std::make_unique<Program>(std::move(program.get()));
  ETGGML_RETURN_IF_ERROR(files.pte.read([&](const void* data, size_t) { return check_pte(data, path); }));
  ETGGML_RETURN_IF_ERROR(file->read_states());
  if (!data_path.empty()) {
    ETGGML_RETURN_IF_ERROR(files.ptd.open(data_path, "a .ptd file"));
    ETGGML_RETURN_IF_ERROR(
        files.ptd.read([&](const void* data, size_t size) { return check_ptd(data, size, data_path); }));
    auto data = FlatTensorDataMap::load(files.ptd.loader());
    if (!data.ok()) {
      return error(ETGGML_FORMAT, "%s is not a usable .ptd file: %s", data_path.c_str(),
                   describe(data.error()).c_str());
    }
    files.data = std::make_unique<FlatTensorDataMap>(std::move(data.get()));
  }
  ETGGML_RETURN_IF_ERROR(file->read_methods());
  return file;
}

Status PteFile::read_states() {
  ETGGML_RETURN_IF_ERROR(files_->pte.read([&](const void* data, size_t) -> Status {
    ETGGML_ASSIGN_OR_RETURN(states_, read_planned_states(data, path_));
    return ok_status();
  }));
  return name_states();
}

Status PteFile::name_states() {
  auto map = files_->program->get_named_data_map();
  if (!map.ok() || *map == nullptr) return ok_status();
  auto found = (*map)->get_data(kStatesKey);
  if (!found.ok()) return ok_status();
  const std::string text(static_cast<const char*>(found->data()), found->size());
  ETGGML_ASSIGN_OR_RETURN(const Json names, parse_object(text.c_str(), kStatesKey));
  return name_planned_states(names, path_, &states_);
}

const std::vector<PlannedState>& PteFile::states(const std::string& method) const {
  static const std::vector<PlannedState> none;
  const auto it = states_.find(method);
  return it == states_.end() ? none : it->second;
}

Status PteFile::check_unchanged() const {
  for (const MappedFile* mapped : {&files_->pte, &files_->ptd})
    if (mapped->file() != nullptr) ETGGML_RETURN_IF_ERROR(mapped->file()->check_unchanged());
  return ok_status();
}

void PteFile::remember(int64_t nanoseconds) const {
  for (const MappedFile* mapped : {&files_->pte, &files_->ptd})
    if (mapped->file() != nullptr) mapped->file()->remember(nanoseconds / 2);
}

Status PteFile::check_delegate_results(const std::string& method, const std::vector<size_t>& n_inputs) const {
  return files_->pte.read(
      [&](const void* data, size_t) { return program::check_delegate_results(data, path_, method, n_inputs); });
}

Result<std::string> PteFile::result_structure(const std::string& method) const {
  std::string found;
  ETGGML_RETURN_IF_ERROR(files_->pte.read([&](const void* data, size_t) {
    found = program::result_structure(data, method);
    return ok_status();
  }));
  return found;
}

Status PteFile::read_methods() {
  for (size_t i = 0; i < files_->program->num_methods(); ++i) {
    auto name = files_->program->get_method_name(i);
    if (!name.ok() || *name == nullptr) {
      return error(ETGGML_FORMAT, "%s: method %zu has no name: %s", path_.c_str(), i, describe(name.error()).c_str());
    }
    methods_.push_back(*name);
  }
  if (methods_.empty()) return error(ETGGML_FORMAT, "%s has no methods", path_.c_str());
  return ok_status();
}

bool PteFile::has_method(const std::string& name) const {
  return std::find(methods_.begin(), methods_.end(), name) != methods_.end();
}

}  // namespace etggml::program
