#include "gguf/parse.h"

#include <ggml.h>

#include <cinttypes>
#include <cstring>
#include <string_view>

#include "gguf/cursor.h"
#include "gguf/index.h"
#include "gguf/text.h"

namespace etggml::gguf {

namespace {

constexpr uint32_t kDefaultAlignment = 32;
constexpr uint32_t kMaxAlignment = 1u << 20;
constexpr uint64_t kMaxKey = 65535;     // bytes, from the format's description
constexpr uint64_t kMaxKeys = 1 << 16;  // entries; real files have tens
constexpr uint64_t kMaxName = 63;       // GGML_MAX_NAME - 1
constexpr uint64_t kMaxZeroTail = 1 << 20;
// The fewest bytes that one entry takes. A count is checked against it before anything is allocated.
constexpr uint64_t kMinKv = 8 + 1 + 4 + 1;              // key length, key, type, one byte of value
constexpr uint64_t kMinTensor = 8 + 1 + 4 + 8 + 4 + 8;  // name length, name, n_dims, one dim, type, offset

constexpr auto kString = static_cast<int32_t>(ValueType::String);
constexpr auto kArray = static_cast<int32_t>(ValueType::Array);
constexpr auto kBool = static_cast<int32_t>(ValueType::Bool);

struct KvView {
  std::string_view key;
  int32_t type = 0, element_type = -1;
  uint64_t count = 1;
  const uint8_t* data = nullptr;
  uint64_t nbytes = 0;
};

struct TensorView {
  std::string_view name;
  int32_t type = 0;
  uint32_t n_dims = 0;
  std::array<int64_t, 4> ne{1, 1, 1, 1};
  uint64_t offset = 0, nbytes = 0;
};

class Parser {
 public:
  Parser(const uint8_t* base, uint64_t size, const std::string& origin, const Limits& limits)
      : base_(base), size_(size), origin_(origin.c_str()), limits_(limits), cursor_(base, size) {}

  Result<Parsed> run() {
    ETGGML_RETURN_IF_ERROR(read_header());
    // Each table is walked twice: once to check it, then, its size being known to be true, to store it.
    Cursor start = cursor_;
    for (uint64_t i = 0; i < n_kv_; ++i) ETGGML_RETURN_IF_ERROR(read_kv(i, &kv_));
    Cursor end = cursor_;
    cursor_ = start;
    ETGGML_RETURN_IF_ERROR(store_kvs());
    cursor_ = end;
    ETGGML_RETURN_IF_ERROR(read_alignment());

    start = cursor_;
    for (uint64_t i = 0; i < n_tensors_; ++i) ETGGML_RETURN_IF_ERROR(read_tensor(i, &tensor_));
    end = cursor_;
    ETGGML_RETURN_IF_ERROR(locate_data());
    cursor_ = start;
    ETGGML_RETURN_IF_ERROR(check_layout());
    cursor_ = start;
    ETGGML_RETURN_IF_ERROR(store_tensors());
    return std::move(out_);
  }

 private:
  Status truncated(const char* what) const {
    return error(ETGGML_FORMAT, "%s: the file ends at byte %" PRIu64 ", inside %s; it is truncated or corrupt", origin_,
                 size_, what);
  }
  Status truncated(const std::string& what) const { return truncated(what.c_str()); }

  // ---------------------------------------------------------------- header

  Status bad_magic() const {
    const std::string_view head(reinterpret_cast<const char*>(base_), size_ < 64 ? size_ : 64);
    auto starts = [&](std::string_view prefix) { return head.substr(0, prefix.size()) == prefix; };
    const char* guess = "";
    if (starts("version https://git-lfs")) guess = "; it is a Git LFS pointer, fetch the real file with `git lfs pull`";
    if (starts("<!DOCTYPE") || starts("<html")) guess = "; it is an HTML page, the download failed";
    if (starts("PK\x03\x04")) guess = "; it looks like a zip archive or a PyTorch checkpoint";
    if (starts("lmgg") || starts("fmgg") || starts("tjgg") || starts("algg")) {
      guess = "; it is a model of the time before GGUF, convert it again";
    }
    if (size_ > 9 && base_[8] == '{' && base_[9] == '"') guess = "; it looks like a safetensors file";
    return error(ETGGML_FORMAT, "%s: not a GGUF file: it begins with %s instead of the magic 'GGUF'%s", origin_,
                 quote(head.substr(0, 4)).c_str(), guess);
  }

  Status read_header() {
    const uint16_t one = 1;
    if (*reinterpret_cast<const uint8_t*>(&one) != 1) {
      return error(ETGGML_UNSUPPORTED, "%s: GGUF files cannot be read on a big-endian machine", origin_);
    }
    char magic[4] = {};
    if (size_ < 4) {
      return error(ETGGML_FORMAT, "%s: not a GGUF file: %" PRIu64 " bytes are too few for the magic 'GGUF'", origin_,
                   size_);
    }
    cursor_.read(&magic);
    if (std::memcmp(magic, "GGUF", 4) != 0) return bad_magic();

    uint32_t version = 0;
    if (!cursor_.read(&version)) return truncated("the version");
    if (version == 0) return error(ETGGML_FORMAT, "%s: GGUF version 0 does not exist; the file is corrupt", origin_);
    if ((version & 0xFFFF) == 0) {
      return error(ETGGML_UNSUPPORTED,
                   "%s: version 0x%08" PRIx32
                   ": a byte-swapped (big-endian) file; get or convert the little-endian one",
                   origin_, version);
    }
    if (version == 1) {
      return error(ETGGML_UNSUPPORTED,
                   "%s: GGUF version 1 is not supported (versions 2 and 3 are); convert the model again", origin_);
    }
    if (version > 3) {
      return error(ETGGML_UNSUPPORTED, "%s: GGUF version %" PRIu32 " is newer than this reader (versions 2 and 3)",
                   origin_, version);
    }
    out_.version = version;

    if (!cursor_.read(&n_tensors_)) return truncated("the tensor count");
    if (!cursor_.read(&n_kv_)) return truncated("the metadata count");
    ETGGML_RETURN_IF_ERROR(check_count("tensor", n_tensors_, kMinTensor, UINT32_MAX));
    return check_count("metadata", n_kv_, kMinKv, kMaxKeys);
  }

  Status check_count(const char* what, uint64_t count, uint64_t min_bytes, uint64_t limit) const {
    if (count > static_cast<uint64_t>(INT64_MAX)) {
      return error(ETGGML_FORMAT, "%s: the %s count is negative (%" PRId64 ")", origin_, what,
                   static_cast<int64_t>(count));
    }
    if (count > cursor_.remaining() / min_bytes) {
      return error(ETGGML_FORMAT,
                   "%s: the %s count %" PRIu64 " is impossible: only %" PRIu64
                   " bytes follow; the file is truncated or corrupt",
                   origin_, what, count, cursor_.remaining());
    }
    if (count > limit) {
      return error(ETGGML_FORMAT, "%s: the %s count %" PRIu64 " is above the limit of %" PRIu64, origin_, what, count,
                   limit);
    }
    return ok_status();
  }

  // ---------------------------------------------------------------- metadata

  // where: which string this is, for messages.
  template <class Where>
  Status read_string(Where where, uint64_t limit, const char* limit_name, std::string_view* out) {
    uint64_t length = 0;
    if (!cursor_.read(&length)) return truncated(where());
    if (length > cursor_.remaining()) {
      return error(ETGGML_FORMAT,
                   "%s: %s has a length of %" PRIu64 " bytes, but only %" PRIu64
                   " remain; the file is truncated or corrupt",
                   origin_, where().c_str(), length, cursor_.remaining());
    }
    if (length > limit) {
      return error(ETGGML_FORMAT, "%s: %s has a length of %" PRIu64 " bytes, above %s of %" PRIu64, origin_,
                   where().c_str(), length, limit_name, limit);
    }
    *out = std::string_view(reinterpret_cast<const char*>(cursor_.here()), static_cast<size_t>(length));
    cursor_.skip(length);
    return ok_status();
  }

  Status read_kv(uint64_t index, KvView* out) {
    *out = KvView();
    auto key_place = [&] { return format("the key of metadata entry %" PRIu64, index); };
    ETGGML_RETURN_IF_ERROR(read_string(key_place, kMaxKey, "the limit", &out->key));
    if (out->key.empty()) return error(ETGGML_FORMAT, "%s: %s is empty", origin_, key_place().c_str());
    if (!valid_utf8(out->key) || out->key.find('\0') != std::string_view::npos) {
      return error(ETGGML_FORMAT, "%s: %s is not text (UTF-8 without NUL): %s", origin_, key_place().c_str(),
                   quote(out->key).c_str());
    }
    auto place = [&] { return "the value of " + quote(out->key); };
    if (!cursor_.read(&out->type)) return truncated(place());
    if (out->type < 0 || out->type > static_cast<int32_t>(ValueType::F64)) {
      return error(ETGGML_FORMAT, "%s: %s has the unknown value type %" PRId32 " (0 to 12 exist)", origin_,
                   place().c_str(), out->type);
    }
    if (out->type == kArray) return read_array(place, out);
    out->data = cursor_.here();
    if (out->type == kString) {
      std::string_view text;
      ETGGML_RETURN_IF_ERROR(read_string(place, limits_.max_string, "the option max_string", &text));
      out->nbytes = 8 + text.size();
      return ok_status();
    }
    out->nbytes = value_size(out->type);
    if (!cursor_.skip(out->nbytes)) return truncated(place());
    return out->type == kBool ? check_bools(place, *out) : ok_status();
  }

  template <class Place>
  Status read_array(Place place, KvView* out) {
    if (!cursor_.read(&out->element_type) || !cursor_.read(&out->count)) return truncated(place());
    if (out->element_type == kArray) {
      return error(ETGGML_UNSUPPORTED, "%s: %s is an array of arrays, which is not supported (nor is it by ggml)",
                   origin_, place().c_str());
    }
    if (out->element_type < 0 || out->element_type > static_cast<int32_t>(ValueType::F64)) {
      return error(ETGGML_FORMAT, "%s: %s is an array of the unknown value type %" PRId32 " (0 to 12 exist)", origin_,
                   place().c_str(), out->element_type);
    }
    const uint64_t element = out->element_type == kString ? 8 : value_size(out->element_type);  // at least
    if (out->count > cursor_.remaining() / element) {
      return error(ETGGML_FORMAT,
                   "%s: %s is an array of %" PRIu64 " elements, but only %" PRIu64
                   " bytes remain; the file is truncated or corrupt",
                   origin_, place().c_str(), out->count, cursor_.remaining());
    }
    if (out->count > limits_.max_array) {
      return error(ETGGML_FORMAT, "%s: %s is an array of %" PRIu64 " elements, above the option max_array of %" PRIu64,
                   origin_, place().c_str(), out->count, limits_.max_array);
    }
    out->data = cursor_.here();
    if (out->element_type != kString) {
      out->nbytes = out->count * element;  // <= remaining, checked above
      cursor_.skip(out->nbytes);
      return out->element_type == kBool ? check_bools(place, *out) : ok_status();
    }
    const uint64_t start = cursor_.position();
    for (uint64_t i = 0; i < out->count; ++i) {
      std::string_view text;
      auto element_place = [&] { return format("element %" PRIu64 " of ", i) + place(); };
      ETGGML_RETURN_IF_ERROR(read_string(element_place, limits_.max_string, "the option max_string", &text));
    }
    out->nbytes = cursor_.position() - start;
    return ok_status();
  }

  template <class Place>
  Status check_bools(Place place, const KvView& kv) const {
    for (uint64_t i = 0; i < kv.nbytes; ++i) {
      if (kv.data[i] > 1) {
        return error(ETGGML_FORMAT, "%s: %s is a bool with the value %d (0 and 1 exist)", origin_, place().c_str(),
                     kv.data[i]);
      }
    }
    return ok_status();
  }

  Status store_kvs() {
    out_.kvs.reserve(static_cast<size_t>(n_kv_));
    for (uint64_t i = 0; i < n_kv_; ++i) {
      ETGGML_RETURN_IF_ERROR(read_kv(i, &kv_));
      KeyValue& kv = out_.kvs.emplace_back();
      kv.key = std::string(kv_.key);
      kv.type = kv_.type;
      kv.element_type = kv_.element_type;
      kv.count = kv_.count;
      kv.data = kv_.data;
      kv.nbytes = kv_.nbytes;
    }
    std::vector<uint32_t> index;
    const auto [first, again] =
        build_index(&index, out_.kvs.size(), [&](size_t i) { return std::string_view(out_.kvs[i].key); });
    if (first >= 0) {
      return error(ETGGML_FORMAT, "%s: the key %s is a duplicate: metadata entries %" PRId64 " and %" PRId64, origin_,
                   quote(out_.kvs[static_cast<size_t>(first)].key).c_str(), first, again);
    }
    return ok_status();
  }

  Status read_alignment() {
    out_.alignment = kDefaultAlignment;
    for (const KeyValue& kv : out_.kvs) {
      if (kv.key != "general.alignment") continue;
      if (kv.type != static_cast<int32_t>(ValueType::U32)) {
        return error(ETGGML_FORMAT, "%s: 'general.alignment' is of type %s; it must be u32", origin_,
                     value_type_name(kv.type));
      }
      std::memcpy(&out_.alignment, kv.data, 4);
    }
    const uint32_t a = out_.alignment;
    if (a < 8 || (a & (a - 1)) != 0 || a > kMaxAlignment) {
      return error(ETGGML_FORMAT, "%s: the alignment %" PRIu32 " is not a power of two from 8 to %" PRIu32, origin_, a,
                   kMaxAlignment);
    }
    return ok_status();
  }

  // ---------------------------------------------------------------- tensors

  Status read_tensor(uint64_t index, TensorView* out) {
    *out = TensorView();
    auto name_place = [&] { return format("the name of tensor %" PRIu64, index); };
    ETGGML_RETURN_IF_ERROR(read_string(name_place, kMaxName, "the limit", &out->name));
    if (out->name.empty()) return error(ETGGML_FORMAT, "%s: %s is empty", origin_, name_place().c_str());
    if (!valid_utf8(out->name) || out->name.find('\0') != std::string_view::npos) {
      return error(ETGGML_FORMAT, "%s: %s is not text (UTF-8 without NUL): %s", origin_, name_place().c_str(),
                   quote(out->name).c_str());
    }
    const auto place = [&] { return "tensor " + quote(out->name); };
    if (!cursor_.read(&out->n_dims)) return truncated(place());
    if (out->n_dims < 1 || out->n_dims > 4) {
      return error(ETGGML_FORMAT, "%s: %s has %" PRIu32 " dimensions; 1 to 4 are possible", origin_, place().c_str(),
                   out->n_dims);
    }
    uint64_t elements = 1;
    for (uint32_t d = 0; d < out->n_dims; ++d) {
      if (!cursor_.read(&out->ne[d])) return truncated(place());
      if (out->ne[d] < 1) {
        return error(ETGGML_FORMAT, "%s: dimension %" PRIu32 " of %s is %" PRId64 "; it must be at least 1", origin_, d,
                     place().c_str(), out->ne[d]);
      }
      if (!multiply(elements, static_cast<uint64_t>(out->ne[d]), &elements) ||
          elements > static_cast<uint64_t>(INT64_MAX)) {
        return error(ETGGML_FORMAT, "%s: the number of elements of %s overflows 63 bits", origin_, place().c_str());
      }
    }
    if (!cursor_.read(&out->type) || !cursor_.read(&out->offset)) return truncated(place());
    ETGGML_RETURN_IF_ERROR(check_type(place, out->type));

    const auto type = static_cast<ggml_type>(out->type);
    const auto block = static_cast<uint64_t>(ggml_blck_size(type));
    if (static_cast<uint64_t>(out->ne[0]) % block != 0) {
      return error(ETGGML_FORMAT,
                   "%s: dimension 0 of %s is %" PRId64 ", not a multiple of the block of %" PRIu64
                   " elements of type %s",
                   origin_, place().c_str(), out->ne[0], block, ggml_type_name(type));
    }
    // Room is left for rounding up to the alignment, so that later sums of sizes need one check only.
    if (!multiply(elements / block, ggml_type_size(type), &out->nbytes) ||
        out->nbytes > static_cast<uint64_t>(INT64_MAX) - kMaxAlignment) {
      return error(ETGGML_FORMAT, "%s: the size in bytes of %s overflows 63 bits", origin_, place().c_str());
    }
    return ok_status();
  }

  template <class Place>
  Status check_type(Place place, int32_t type) const {
    const char* removed = nullptr;
    switch (type) {
      case 4:
        removed = "Q4_2";
        break;
      case 5:
        removed = "Q4_3";
        break;
      case 31:
        removed = "Q4_0_4_4";
        break;
      case 32:
        removed = "Q4_0_4_8";
        break;
      case 33:
        removed = "Q4_0_8_8";
        break;
      case 36:
        removed = "IQ4_NL_4_4";
        break;
      case 37:
        removed = "IQ4_NL_4_8";
        break;
      case 38:
        removed = "IQ4_NL_8_8";
        break;
      default:
        break;
    }
    if (removed != nullptr) {
      return error(ETGGML_UNSUPPORTED,
                   "%s: %s has type %" PRId32 " (%s), which was removed from ggml; quantise the model again", origin_,
                   place().c_str(), type, removed);
    }
    if (type < 0 || type >= GGML_TYPE_COUNT || ggml_blck_size(static_cast<ggml_type>(type)) == 0 ||
        ggml_type_size(static_cast<ggml_type>(type)) == 0) {
      return error(ETGGML_UNSUPPORTED, "%s: %s has type %" PRId32 ", unknown to this version of ggml (0 to %d exist)",
                   origin_, place().c_str(), type, GGML_TYPE_COUNT - 1);
    }
    return ok_status();
  }

  // ---------------------------------------------------------------- data section

  Status locate_data() {
    uint64_t start = 0;
    round_up(cursor_.position(), out_.alignment, &start);  // a file position and 1 MiB: no overflow
    if (n_tensors_ == 0) start = start < size_ ? start : size_;
    if (start > size_) return truncated("the padding before the tensor data");
    out_.data_offset = start;
    return ok_status();
  }

  // ggml lays tensors one after another, each padded to the alignment, and accepts nothing else. Neither do we: a gap
  // can hide a second file, and an overlap makes the meaning of a tensor depend on another.
  Status check_layout() {
    const uint64_t room = size_ - out_.data_offset;
    uint64_t end = 0;  // of the tensors so far, padded
    std::string_view previous;
    for (uint64_t i = 0; i < n_tensors_; ++i) {
      ETGGML_RETURN_IF_ERROR(read_tensor(i, &tensor_));
      const std::string name = quote(tensor_.name);
      if (tensor_.offset % out_.alignment != 0) {
        return error(ETGGML_FORMAT,
                     "%s: the data offset %" PRIu64 " of tensor %s is not a multiple of the alignment %" PRIu32,
                     origin_, tensor_.offset, name.c_str(), out_.alignment);
      }
      if (tensor_.offset > room || tensor_.nbytes > room - tensor_.offset) {
        return error(ETGGML_FORMAT,
                     "%s: the data of tensor %s (%" PRIu64 " bytes at offset %" PRIu64
                     ") reaches beyond the end of the file (%" PRIu64 " bytes of data); it is truncated or corrupt",
                     origin_, name.c_str(), tensor_.nbytes, tensor_.offset, room);
      }
      if (tensor_.offset < end) {
        return error(ETGGML_FORMAT,
                     "%s: the data of tensor %s at offset %" PRIu64 " overlaps that of %s, which ends at %" PRIu64
                     " (tensors are stored in the order of the table)",
                     origin_, name.c_str(), tensor_.offset, quote(previous).c_str(), end);
      }
      if (tensor_.offset > end) {
        return error(ETGGML_FORMAT, "%s: a gap of %" PRIu64 " bytes lies before the data of tensor %s", origin_,
                     tensor_.offset - end, name.c_str());
      }
      round_up(tensor_.offset + tensor_.nbytes, out_.alignment, &end);  // both <= size_, checked above
      previous = tensor_.name;
    }
    // Writers pad the last tensor too, and some file systems and tools append more zeros. Other bytes are not part of
    // the model; most often they are two downloads in one file.
    for (uint64_t i = end; i < room; ++i) {
      if (i - end >= kMaxZeroTail || base_[out_.data_offset + i] != 0) {
        return error(ETGGML_FORMAT,
                     "%s: %" PRIu64 " bytes follow the last tensor; the file is corrupt or two files in one", origin_,
                     room - end);
      }
    }
    return ok_status();
  }

  Status store_tensors() {
    out_.tensors.reserve(static_cast<size_t>(n_tensors_));
    for (uint64_t i = 0; i < n_tensors_; ++i) {
      ETGGML_RETURN_IF_ERROR(read_tensor(i, &tensor_));
      Tensor& t = out_.tensors.emplace_back();
      t.name = std::string(tensor_.name);
      t.type = tensor_.type;
      t.n_dims = tensor_.n_dims;
      t.ne = tensor_.ne;
      t.nbytes = tensor_.nbytes;
      t.file_offset = out_.data_offset + tensor_.offset;
      t.data = base_ + t.file_offset;
    }
    std::vector<uint32_t> index;
    const auto [first, again] =
        build_index(&index, out_.tensors.size(), [&](size_t i) { return std::string_view(out_.tensors[i].name); });
    if (first >= 0) {
      return error(ETGGML_FORMAT, "%s: the tensor name %s is a duplicate: entries %" PRId64 " and %" PRId64, origin_,
                   quote(out_.tensors[static_cast<size_t>(first)].name).c_str(), first, again);
    }
    return ok_status();
  }

  const uint8_t* base_;
  uint64_t size_;
  const char* origin_;
  const Limits& limits_;
  Cursor cursor_;
  uint64_t n_tensors_ = 0, n_kv_ = 0;
  KvView kv_;
  TensorView tensor_;
  Parsed out_;
};

}  // namespace

Result<Parsed> parse(const uint8_t* base, uint64_t size, const std::string& origin, const Limits& limits) {
  return Parser(base, size, origin, limits).run();
}

}  // namespace etggml::gguf
