// A GGUF file, or a split set of them, mapped read-only and checked completely before anything is handed out.
//
// ggml's own reader is not used: it copies every value, trusts tensor extents and reports through stderr. This one
// parses in place, so opening costs the size of the header and no tensor data is touched.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "util/status.h"

namespace etggml::gguf {

/// Above these a file is refused: nothing legitimate comes near, and each is memory somebody will allocate later.
struct Limits {
  uint64_t max_string = uint64_t{32} << 20;  ///< bytes of one string value (a chat template, a tokenizer.json)
  uint64_t max_array = uint64_t{16} << 20;   ///< elements of one array value
};

/// One tensor; `data` is `nbytes` long, inside the mapping, aligned to the file's alignment.
struct Tensor {
  std::string name;
  int32_t type = 0;                       ///< ggml_type
  uint32_t n_dims = 0;                    ///< as written in the file, 1..4
  std::array<int64_t, 4> ne{1, 1, 1, 1};  ///< ggml order (fastest first), unused entries 1
  const uint8_t* data = nullptr;
  uint64_t nbytes = 0;
  uint64_t file_offset = 0;  ///< absolute, in its shard's file
  uint32_t shard = 0;        ///< index into FileSet::shards()
};

/// GGUF value types, as numbered in the format.
enum class ValueType : int32_t {
  U8 = 0,
  I8 = 1,
  U16 = 2,
  I16 = 3,
  U32 = 4,
  I32 = 5,
  F32 = 6,
  Bool = 7,
  String = 8,
  Array = 9,
  U64 = 10,
  I64 = 11,
  F64 = 12,
};
/// Bytes of one element of a fixed-size type; 0 for strings, arrays and unknown numbers.
uint64_t value_size(int32_t type);
const char* value_type_name(int32_t type);

/// One metadata entry, left as encoded in the file (little endian, unaligned; strings are u64 length then bytes). The
/// encoding has been checked: a reader may walk it without further bounds checks.
struct KeyValue {
  std::string key;
  int32_t type = 0;           ///< ValueType
  int32_t element_type = -1;  ///< of an array, else -1
  uint64_t count = 1;         ///< elements of an array, else 1
  const uint8_t* data = nullptr;
  uint64_t nbytes = 0;

  /// Typed access; false when the entry has another type (integers convert between widths when the value fits).
  bool as_u64(uint64_t* out) const;
  bool as_i64(int64_t* out) const;
  bool as_f64(double* out) const;  ///< any number
  bool as_bool(bool* out) const;
  bool as_string(std::string_view* out) const;
};

struct Shard {
  std::string path;
  const uint8_t* base = nullptr;  ///< page aligned
  uint64_t size = 0;              ///< of the file and of the mapping
  uint64_t data_offset = 0;       ///< where the tensor data section starts
  uint32_t version = 0;
  uint32_t alignment = 0;
};

/// Immutable and thread safe. Pointers handed out live as long as the FileSet: keep the shared_ptr.
class FileSet {
 public:
  virtual ~FileSet() = default;
  FileSet(const FileSet&) = delete;
  FileSet& operator=(const FileSet&) = delete;

  /// path: a .gguf, or the first shard ("-00001-of-0000N.gguf") of a split set, with the other shards beside it.
  static Result<std::shared_ptr<const FileSet>> open(const std::string& path, const Limits& limits = {});

  /// In file order, shard by shard.
  const std::vector<Tensor>& tensors() const { return tensors_; }
  const Tensor* find(std::string_view name) const;
  /// The n names closest to this one by edit distance (nearest first); for messages.
  std::vector<std::string> nearest(std::string_view name, size_t n) const;

  /// Metadata of the first shard, which holds all of it.
  const std::vector<KeyValue>& kvs() const { return kvs_; }
  const KeyValue* kv(std::string_view key) const;

  const std::vector<Shard>& shards() const { return shards_; }
  const std::string& path() const { return shards_.front().path; }

  /// Same for two opens of the same unchanged file(s): device, inode, size and modification time of every shard. The
  /// key by which loaded weights are shared.
  const std::string& id() const { return id_; }

  /// ETGGML_IO when a file was truncated or rewritten in place since it was opened. Reading a mapping past the end of
  /// a file that shrank kills the process (SIGBUS), so ask before a long read of weights.
  virtual Status check_unchanged() const = 0;
  /// Reads on in the files for about that long, so that later a change of their times alone can be told from one of
  /// their content (util/watched_file.h).
  virtual void remember(int64_t nanoseconds) const = 0;

  /// {"path", "paths", "version", "alignment", "tensors", "kvs", "data_bytes", "file_bytes", "id"}
  std::string info_json() const;

 protected:
  FileSet() = default;
  std::vector<Tensor> tensors_;
  std::vector<KeyValue> kvs_;
  std::vector<Shard> shards_;
  std::string id_;
  std::vector<uint32_t> tensor_index_, kv_index_;  // positions sorted by name
};

}  // namespace etggml::gguf
