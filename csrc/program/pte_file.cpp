#include "program/pte_file.h"

#include <executorch/extension/data_loader/mmap_data_loader.h>
#include <executorch/extension/flat_tensor/flat_tensor_data_map.h>
#include <executorch/runtime/executor/program.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "engine/load_scope.h"
#include "program/et_log.h"
#include "program/guarded.h"
#include "program/kernels.h"
#include "program/ptd_check.h"
#include "program/pte_check.h"

namespace etggml::program {
namespace {

using executorch::extension::FlatTensorDataMap;
using executorch::extension::MmapDataLoader;
using executorch::runtime::Error;
using executorch::runtime::Program;

// Named data in which the exporter lists states (executorch_ggml/lowered_program.py).
constexpr const char* kStatesKey = "executorch_ggml.states";

// A file as ExecuTorch maps it, and a descriptor of our own that tells whether it is still the same.
class MappedFile {
 public:
  MappedFile() = default;
  ~MappedFile() {
    if (fd_ >= 0) ::close(fd_);
  }
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  Status open(const std::string& path) {
    path_ = path;
    // ExecuTorch opens anything: a FIFO would block it, a directory fails with a code that says nothing.
    struct stat info;
    if (stat(path.c_str(), &info) != 0) return error(ETGGML_IO, "%s: %s", path.c_str(), std::strerror(errno));
    if (!S_ISREG(info.st_mode)) return error(ETGGML_IO, "%s is not a regular file", path.c_str());
    if (info.st_size == 0) return error(ETGGML_FORMAT, "%s is empty", path.c_str());
    fd_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd_ < 0 || fstat(fd_, &opened_) != 0)
      return error(ETGGML_IO, "%s cannot be opened: %s", path.c_str(), std::strerror(errno));
    auto mapped = MmapDataLoader::from(path.c_str(), MmapDataLoader::MlockConfig::NoMlock);
    if (!mapped.ok())
      return error(ETGGML_IO, "%s cannot be opened: %s", path.c_str(), describe(mapped.error()).c_str());
    loader_ = std::make_unique<MmapDataLoader>(std::move(mapped.get()));
    return ok_status();
  }

  MmapDataLoader* loader() const { return loader_.get(); }

  Status check_unchanged() const {
    struct stat now;
    if (fd_ < 0) return ok_status();
    if (fstat(fd_, &now) != 0) return error(ETGGML_IO, "%s: %s", path_.c_str(), std::strerror(errno));
    if (now.st_size == opened_.st_size && same_time(now, opened_)) return ok_status();
    return error(
        ETGGML_IO,
        "%s: the file changed after it was opened (%lld bytes then, %lld now); load it again. To replace a file "
        "that is in use, write another one and rename it",
        path_.c_str(), static_cast<long long>(opened_.st_size), static_cast<long long>(now.st_size));
  }

  /// Shows `look` the whole file.
  Status read(const std::function<Status(const void* data, size_t size)>& look) const {
    using SegmentInfo = executorch::runtime::DataLoader::SegmentInfo;
    auto size = loader_->size();
    if (!size.ok()) return error(ETGGML_IO, "%s: %s", path_.c_str(), describe(size.error()).c_str());
    auto data = loader_->load(0, *size, SegmentInfo(SegmentInfo::Type::Program));
    if (!data.ok()) return error(ETGGML_IO, "%s: %s", path_.c_str(), describe(data.error()).c_str());
    return look(data->data(), data->size());
  }

 private:
  static bool same_time(const struct stat& a, const struct stat& b) {
#if defined(__APPLE__)
    return a.st_mtimespec.tv_sec == b.st_mtimespec.tv_sec && a.st_mtimespec.tv_nsec == b.st_mtimespec.tv_nsec;
#else
    return a.st_mtim.tv_sec == b.st_mtim.tv_sec && a.st_mtim.tv_nsec == b.st_mtim.tv_nsec;
#endif
  }

  std::string path_;
  int fd_ = -1;
  struct stat opened_ {};
  std::unique_ptr<MmapDataLoader> loader_;
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
  route_executorch_log();
  ensure_cpu_kernels();
  return guarded(path, [&] { return open_guarded(path, data_path); });
}

Result<std::unique_ptr<PteFile>> PteFile::open_guarded(const std::string& path, const std::string& data_path) {
  take_executorch_errors();
  std::unique_ptr<PteFile> file(new PteFile());
  file->path_ = path;
  Files& files = *file->files_;
  ETGGML_RETURN_IF_ERROR(files.pte.open(path));
  auto program = Program::load(files.pte.loader(), Program::Verification::InternalConsistency);
  if (!program.ok()) {
    return error(ETGGML_FORMAT, "%s is not a usable ExecuTorch program: %s", path.c_str(),
                 describe(program.error()).c_str());
  }
  files.program = std::make_unique<Program>(std::move(program.get()));
  ETGGML_RETURN_IF_ERROR(files.pte.read([&](const void* data, size_t) { return check_pte(data, path); }));
  ETGGML_RETURN_IF_ERROR(file->read_states());
  if (!data_path.empty()) {
    ETGGML_RETURN_IF_ERROR(files.ptd.open(data_path));
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
  ETGGML_RETURN_IF_ERROR(files_->pte.check_unchanged());
  return files_->ptd.check_unchanged();
}

Status PteFile::check_delegate_results(const std::string& method, const std::vector<size_t>& n_inputs) const {
  return files_->pte.read(
      [&](const void* data, size_t) { return program::check_delegate_results(data, path_, method, n_inputs); });
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
