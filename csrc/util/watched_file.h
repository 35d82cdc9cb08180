// A file that a mapping shows, and whether it is still the one that was opened.
//
// A mapping shows the present contents of the file. A file that is rewritten in place changes under its readers. One
// that shrinks ends a process that reads behind its end. Size and modification time tell, at the price of a system
// call.
// But a file's time changes without its content, too (touch, a backup that is put back). So the content is remembered
// as a hash: of a small file when it is opened, of a large one little by little, by remember(). When only the time has
// changed the file is read once and compared.
#pragma once

#include <sys/stat.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>

#include "util/content_hash.h"
#include "util/status.h"

namespace etggml {

/// Of the time of a call, the part that remember() is given: 1 of 128.
constexpr int64_t kRememberShare = 128;

class WatchedFile {
 public:
  /// A regular file of at least one byte, to read. `kind`: its name in messages ("a GGUF file"). ETGGML_IO,
  /// ETGGML_FORMAT when it is empty.
  static Result<std::unique_ptr<WatchedFile>> open(const std::string& path, const char* kind);
  ~WatchedFile();
  WatchedFile(const WatchedFile&) = delete;
  WatchedFile& operator=(const WatchedFile&) = delete;

  const std::string& path() const { return path_; }
  uint64_t size() const { return static_cast<uint64_t>(opened_.st_size); }
  int descriptor() const { return fd_; }
  /// device:inode:size:mtime as they were when it was opened.
  std::string id() const;

  /// ETGGML_IO when its content changed since it was opened, or may have: the time is another and not all of the
  /// content was remembered yet. A change that was seen is not forgotten.
  Status check_unchanged() const;

  /// Remembers more of the content, for about that long. Costs nothing once all of it is.
  void remember(int64_t nanoseconds) const;

 private:
  WatchedFile() = default;
  bool is_ours(const struct stat& s) const { return s.st_dev == opened_.st_dev && s.st_ino == opened_.st_ino; }
  bool is_as_known(const struct stat& s) const;
  Status examine(struct stat* now) const;
  Status reopen(struct stat* now) const;
  Status compare(const struct stat& now) const;
  Status changed(const struct stat& now) const;
  Status read(uint64_t from, uint64_t to, ContentHash* hash) const;
  void remember_until(int64_t deadline) const;
  std::unique_lock<std::mutex> lock() const;

  std::string path_;
  struct stat opened_ {};
  // The known facts of the file, for all threads that use it. The mutex is taken for long operations.
  mutable std::atomic<int> fd_{-1};
  mutable std::atomic<int64_t> known_time_{0};  // with which the content is that of the opened file
  mutable std::atomic<bool> is_changed_{false};
  mutable std::mutex mutex_;
  mutable ContentHash content_;  // of the first remembered_ bytes
  mutable uint64_t remembered_ = 0;
  mutable int64_t saved_ = 0;  // nanoseconds that remember() was given and has not used
};

}  // namespace etggml
