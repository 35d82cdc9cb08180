// A regular file mapped read-only. Everything else that a path may name (directory, FIFO, device, dangling or looping
// link) is refused before it is opened, because opening a FIFO blocks and opening a device may act on it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "util/status.h"

namespace etggml::gguf {

class Mapping {
 public:
  static Result<std::unique_ptr<Mapping>> open(const std::string& path);
  ~Mapping();
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;

  const std::string& path() const { return path_; }
  const uint8_t* base() const { return base_; }
  uint64_t size() const { return size_; }
  /// device:inode:size:mtime. Equal for two opens of one unchanged file.
  const std::string& id() const { return id_; }
  /// ETGGML_IO when the file's size or modification time changed since it was opened.
  Status check_unchanged() const;

 private:
  Mapping() = default;
  std::string path_;
  const uint8_t* base_ = nullptr;
  uint64_t size_ = 0;
  int fd_ = -1;
  std::string id_;
};

}  // namespace etggml::gguf
