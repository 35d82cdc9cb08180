#include "gguf/mapping.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cinttypes>
#include <cstring>
#include <new>

namespace etggml::gguf {

namespace {

std::string identity(const struct stat& s) {
#if defined(__APPLE__)
  const struct timespec mtime = s.st_mtimespec;
#else
  const struct timespec mtime = s.st_mtim;
#endif
  return format("%llx:%llx:%lld:%lld.%09ld", static_cast<unsigned long long>(s.st_dev),
                static_cast<unsigned long long>(s.st_ino), static_cast<long long>(s.st_size),
                static_cast<long long>(mtime.tv_sec), static_cast<long>(mtime.tv_nsec));
}

Status io_error(const std::string& path, const char* action, int code) {
  const char* hint = "";
  if (code == ENOENT) hint = "; check the path";
  if (code == EACCES || code == EPERM) hint = "; check the permissions of the file and its directories";
  if (code == ELOOP) hint = "; the symbolic links lead in a circle";
  return error(ETGGML_IO, "%s: cannot %s: %s%s", path.c_str(), action, std::strerror(code), hint);
}

Status not_regular(const std::string& path, mode_t mode) {
  const char* what = "not a regular file";
  if (S_ISDIR(mode)) what = "a directory";
  if (S_ISFIFO(mode)) what = "a FIFO (named pipe)";
  if (S_ISCHR(mode) || S_ISBLK(mode)) what = "a device";
  if (S_ISSOCK(mode)) what = "a socket";
  return error(ETGGML_IO, "%s: is %s; a GGUF file must be a regular file", path.c_str(), what);
}

}  // namespace

Result<std::unique_ptr<Mapping>> Mapping::open(const std::string& path) {
  if (path.empty()) return error(ETGGML_INVALID_ARGUMENT, "the path of the GGUF file is empty");
  struct stat s;
  if (::stat(path.c_str(), &s) != 0) return io_error(path, "open", errno);
  if (!S_ISREG(s.st_mode)) return not_regular(path, s.st_mode);

  std::unique_ptr<Mapping> mapping(new (std::nothrow) Mapping());
  if (!mapping) return error(ETGGML_OUT_OF_MEMORY, "%s: out of memory", path.c_str());
  mapping->path_ = path;
  // O_NONBLOCK only matters if the name was changed to a FIFO since stat(): then open() must not hang.
  mapping->fd_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (mapping->fd_ < 0) return io_error(path, "open", errno);
  if (::fstat(mapping->fd_, &s) != 0) return io_error(path, "examine", errno);
  if (!S_ISREG(s.st_mode)) return not_regular(path, s.st_mode);
  if (s.st_size == 0) return error(ETGGML_FORMAT, "%s: the file is empty; not a GGUF file", path.c_str());

  const auto size = static_cast<uint64_t>(s.st_size);
  if (size > SIZE_MAX) return error(ETGGML_IO, "%s: too large for this address space", path.c_str());
  void* base = ::mmap(nullptr, static_cast<size_t>(size), PROT_READ, MAP_PRIVATE, mapping->fd_, 0);
  if (base == MAP_FAILED) return io_error(path, "map", errno);
  mapping->base_ = static_cast<const uint8_t*>(base);
  mapping->size_ = size;
  mapping->id_ = identity(s);
  return mapping;
}

Mapping::~Mapping() {
  if (base_ != nullptr) ::munmap(const_cast<uint8_t*>(base_), static_cast<size_t>(size_));
  if (fd_ >= 0) ::close(fd_);
}

Status Mapping::check_unchanged() const {
  struct stat s;
  if (::fstat(fd_, &s) != 0) return io_error(path_, "examine", errno);
  if (identity(s) != id_) {
    return error(ETGGML_IO,
                 "%s: the file changed after it was opened (%" PRIu64 " bytes then, %lld now); open it again",
                 path_.c_str(), size_, static_cast<long long>(s.st_size));
  }
  return ok_status();
}

}  // namespace etggml::gguf
