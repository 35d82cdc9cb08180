#include "util/watched_file.h"

#include <fcntl.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cinttypes>
#include <cstring>
#include <new>

#include "util/interrupt.h"

namespace etggml {
namespace {

// Of which the content is remembered at once: under a millisecond.
constexpr uint64_t kSmall = 4 << 20;
constexpr uint64_t kPiece = 64 << 10;  // of a read; a multiple of ContentHash::kBlock
constexpr int64_t kPieceTime = 20000;  // nanoseconds that one takes, about
constexpr int kPatience = 10000;       // milliseconds, for a thread that may be one of the process before a fork

struct timespec mtime(const struct stat& s) {
#if defined(__APPLE__)
  return s.st_mtimespec;
#else
  return s.st_mtim;
#endif
}

int64_t time_of(const struct stat& s) { return int64_t{mtime(s).tv_sec} * 1000000000 + mtime(s).tv_nsec; }

int64_t now() {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return int64_t{t.tv_sec} * 1000000000 + t.tv_nsec;
}

Status io_error(const std::string& path, const char* action, int code) {
  const char* hint = "";
  if (code == ENOENT) hint = "; check the path";
  if (code == EACCES || code == EPERM) hint = "; check the permissions of the file and its directories";
  if (code == ELOOP) hint = "; the symbolic links lead in a circle";
  return error(ETGGML_IO, "%s: cannot %s: %s%s", path.c_str(), action, std::strerror(code), hint);
}

Status not_regular(const std::string& path, const char* kind, mode_t mode) {
  const char* is = "not a regular file";
  if (S_ISDIR(mode)) is = "a directory";
  if (S_ISFIFO(mode)) is = "a FIFO (named pipe)";
  if (S_ISCHR(mode) || S_ISBLK(mode)) is = "a device";
  if (S_ISSOCK(mode)) is = "a socket";
  return error(ETGGML_IO, "%s: is %s; %s must be a regular file", path.c_str(), is, kind);
}

// O_NONBLOCK only matters if the name was changed to a FIFO since stat(): then open() must not hang.
int open_to_read(const std::string& path) { return ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK); }

}  // namespace

Result<std::unique_ptr<WatchedFile>> WatchedFile::open(const std::string& path, const char* kind) {
  if (path.empty()) return error(ETGGML_INVALID_ARGUMENT, "the path of %s is empty", kind);
  std::unique_ptr<WatchedFile> file(new (std::nothrow) WatchedFile());
  if (!file) return error(ETGGML_OUT_OF_MEMORY, "%s: out of memory", path.c_str());
  // Looked at before it is opened: opening a FIFO blocks, and opening a device may act on it.
  struct stat s;
  if (::stat(path.c_str(), &s) != 0) return io_error(path, "open", errno);
  if (!S_ISREG(s.st_mode)) return not_regular(path, kind, s.st_mode);
  file->path_ = path;
  file->fd_ = open_to_read(path);
  if (file->fd_ < 0) return io_error(path, "open", errno);
  if (::fstat(file->fd_, &s) != 0) return io_error(path, "examine", errno);
  if (!S_ISREG(s.st_mode)) return not_regular(path, kind, s.st_mode);
  if (s.st_size == 0) return error(ETGGML_FORMAT, "%s: the file is empty; not %s", path.c_str(), kind);
  file->opened_ = s;
  file->known_time_ = time_of(s);
  if (file->size() <= kSmall) file->remember_until(INT64_MAX);
  return file;
}

WatchedFile::~WatchedFile() {
  struct stat s;
  // A host may have closed all descriptors (to become a daemon): then the number may be another file's.
  if (fd_ >= 0 && ::fstat(fd_, &s) == 0 && is_ours(s)) ::close(fd_);
}

std::string WatchedFile::id() const {
  return format("%llx:%llx:%lld:%lld.%09ld", static_cast<unsigned long long>(opened_.st_dev),
                static_cast<unsigned long long>(opened_.st_ino), static_cast<long long>(opened_.st_size),
                static_cast<long long>(mtime(opened_).tv_sec), static_cast<long>(mtime(opened_).tv_nsec));
}

bool WatchedFile::is_as_known(const struct stat& s) const {
  return !is_changed_.load(std::memory_order_relaxed) && s.st_size == opened_.st_size &&
         time_of(s) == known_time_.load(std::memory_order_relaxed);
}

Status WatchedFile::check_unchanged() const {
  struct stat now;
  ETGGML_RETURN_IF_ERROR(examine(&now));
  if (is_as_known(now)) return ok_status();
  const std::unique_lock<std::mutex> guard = lock();
  if (!guard.owns_lock() || is_changed_ || now.st_size != opened_.st_size || remembered_ < size()) return changed(now);
  return is_as_known(now) ? ok_status() : compare(now);
}

Status WatchedFile::compare(const struct stat& now) const {
  ContentHash content;
  const Status status = read(0, size(), &content);
  if (status.code == ETGGML_CANCELLED || status.code == ETGGML_OUT_OF_MEMORY) return status;
  struct stat after;
  ETGGML_RETURN_IF_ERROR(examine(&after));
  if (!status.ok() || !(content == content_) || after.st_size != opened_.st_size) {
    is_changed_ = true;
    return changed(after);
  }
  // Otherwise it was touched while it was read, and the next call looks again.
  if (time_of(now) == time_of(after)) known_time_ = time_of(now);
  return ok_status();
}

void WatchedFile::remember(int64_t nanoseconds) const {
  const std::unique_lock<std::mutex> guard(mutex_, std::try_to_lock);
  if (!guard.owns_lock() || remembered_ == size()) return;
  saved_ += nanoseconds;
  if (saved_ < kPieceTime) return;
  const int64_t start = now();
  remember_until(start + saved_);
  saved_ -= now() - start;
}

// Nothing is remembered of a file that has changed in between: its next check says so.
void WatchedFile::remember_until(int64_t deadline) const {
  const ContentHash before = content_;
  const uint64_t from = remembered_;
  bool good = true;
  while (good && remembered_ < size()) {
    const uint64_t to = std::min(size(), remembered_ + kPiece);
    good = read(remembered_, to, &content_).ok();
    remembered_ = to;
    if (now() >= deadline) break;
  }
  struct stat s;
  if (good && ::fstat(fd_, &s) == 0 && is_ours(s) && is_as_known(s)) return;
  remembered_ = from;
  content_ = before;
}

Status WatchedFile::read(uint64_t from, uint64_t to, ContentHash* hash) const {
  const std::unique_ptr<uint8_t[]> buffer(new (std::nothrow) uint8_t[kPiece]);
  if (buffer == nullptr) return error(ETGGML_OUT_OF_MEMORY, "%s: out of memory", path_.c_str());
  InterruptClock interrupts;
  while (from < to) {
    if (interrupts.interrupted()) return error(ETGGML_CANCELLED, "%s: reading was interrupted", path_.c_str());
    const size_t want = static_cast<size_t>(std::min(to - from, kPiece));
    for (size_t got = 0; got < want;) {
      const ssize_t n = ::pread(fd_, buffer.get() + got, want - got, static_cast<off_t>(from + got));
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) return io_error(path_, "read", n < 0 ? errno : EIO);
      got += static_cast<size_t>(n);
    }
    hash->add(buffer.get(), want);
    from += want;
  }
  return ok_status();
}

std::unique_lock<std::mutex> WatchedFile::lock() const {
  std::unique_lock<std::mutex> lock(mutex_, std::try_to_lock);
  for (int tries = 0; !lock.owns_lock() && tries < kPatience; ++tries) {
    const timespec pause = {0, 1000000};
    nanosleep(&pause, nullptr);
    (void)lock.try_lock();
  }
  return lock;
}

Status WatchedFile::examine(struct stat* now) const {
  if (::fstat(fd_, now) == 0 && is_ours(*now)) return ok_status();
  return reopen(now);
}

// The descriptor was closed by the host. The file under the path is used instead, if it is the same one.
Status WatchedFile::reopen(struct stat* now) const {
  const int fd = ::stat(path_.c_str(), now) == 0 && is_ours(*now) ? open_to_read(path_) : -1;
  if (fd >= 0 && ::fstat(fd, now) == 0 && is_ours(*now)) {
    fd_ = fd;  // two threads may both do this: then one descriptor is left open
    return ok_status();
  }
  if (fd >= 0) ::close(fd);
  return error(ETGGML_IO,
               "%s: its file descriptor was closed by this process, and the file is no longer there; open it again",
               path_.c_str());
}

Status WatchedFile::changed(const struct stat& now) const {
  constexpr const char* kAdvice = "open it again. To replace a file that is in use, write another one and rename it";
  if (now.st_size == opened_.st_size && !is_changed_) {
    return error(ETGGML_IO,
                 "%s: the file changed after it was opened, or its time did before all of it was read once; %s",
                 path_.c_str(), kAdvice);
  }
  return error(ETGGML_IO, "%s: the file changed after it was opened (%" PRIu64 " bytes then, %lld now); %s",
               path_.c_str(), size(), static_cast<long long>(now.st_size), kAdvice);
}

}  // namespace etggml
