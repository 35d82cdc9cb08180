// A regular file mapped read-only. A directory, FIFO, device, or a dangling or looping link is refused before it is
// opened. Opening a FIFO blocks, and opening a device may act on it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "util/status.h"
#include "util/watched_file.h"

namespace etggml {

class Mapping {
 public:
  /// kind: as in WatchedFile::open().
  static Result<std::unique_ptr<Mapping>> open(const std::string& path, const char* kind);
  ~Mapping();
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;

  const std::string& path() const { return file_->path(); }
  const uint8_t* base() const { return base_; }
  uint64_t size() const { return file_->size(); }
  /// The file that it shows.
  const WatchedFile& file() const { return *file_; }

 private:
  Mapping() = default;
  std::unique_ptr<WatchedFile> file_;
  const uint8_t* base_ = nullptr;
};

}  // namespace etggml
