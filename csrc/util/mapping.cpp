#include "util/mapping.h"

#include <sys/mman.h>

#include <cerrno>
#include <cstring>
#include <new>

namespace etggml {

Result<std::unique_ptr<Mapping>> Mapping::open(const std::string& path, const char* kind) {
  std::unique_ptr<Mapping> mapping(new (std::nothrow) Mapping());
  if (!mapping) return error(ETGGML_OUT_OF_MEMORY, "%s: out of memory", path.c_str());
  ETGGML_ASSIGN_OR_RETURN(mapping->file_, WatchedFile::open(path, kind));
  if (mapping->size() > SIZE_MAX) return error(ETGGML_IO, "%s: too large for this address space", path.c_str());
  void* base =
      ::mmap(nullptr, static_cast<size_t>(mapping->size()), PROT_READ, MAP_PRIVATE, mapping->file_->descriptor(), 0);
  if (base == MAP_FAILED) return error(ETGGML_IO, "%s: cannot map: %s", path.c_str(), std::strerror(errno));
  mapping->base_ = static_cast<const uint8_t*>(base);
  return mapping;
}

Mapping::~Mapping() {
  if (base_ != nullptr) ::munmap(const_cast<uint8_t*>(base_), static_cast<size_t>(size()));
}

}  // namespace etggml
