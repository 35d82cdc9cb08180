#include "program/ptd_check.h"

#include <cstring>
#include <set>

#include "ptd_generated.h"
#include "util/scalar_type.h"

namespace etggml::program {
namespace {

namespace fb = ptd::fb;

// Behind the FlatBuffer's root offset and identifier (extension/flat_tensor/serialize/flat_tensor_header.h).
struct Header {
  char magic[4];
  uint32_t length;
  uint64_t tables_offset, tables_size, base, data_size;
};
constexpr size_t kHeaderAt = 8;
constexpr uint32_t kMaxRank = 16;

Status corrupt(const std::string& path, const std::string& text) {
  return error(ETGGML_FORMAT, "%s is not a usable .ptd file: %s; the file is corrupt", path.c_str(), text.c_str());
}

Status check_layout(const fb::Entry& entry, uint64_t bytes, const std::string& path) {
  const fb::Layout* layout = entry.layout();
  if (layout == nullptr) return ok_status();
  const std::string name = "'" + entry.key()->str() + "'";
  const auto* sizes = layout->sizes();
  const auto* order = layout->dim_order();
  if (sizes == nullptr || order == nullptr || sizes->size() != order->size() || sizes->size() > kMaxRank)
    return corrupt(path, "tensor " + name + " has no shape");
  uint64_t needed = scalar_size(layout->scalar_type());
  if (needed == 0)
    return corrupt(path, format("tensor %s has the unknown type %d", name.c_str(), layout->scalar_type()));
  uint32_t seen = 0;
  for (uint32_t d = 0; d < sizes->size(); ++d) {
    const int32_t size = sizes->Get(d);
    if (size < 0 || __builtin_mul_overflow(needed, static_cast<uint64_t>(size), &needed))
      return corrupt(path, format("tensor %s has a size of %d", name.c_str(), size));
    if (order->Get(d) >= sizes->size() || (seen >> order->Get(d) & 1) != 0)
      return corrupt(path, "the dim order of tensor " + name + " is no permutation");
    seen |= 1u << order->Get(d);
  }
  if (needed > bytes) {
    return corrupt(path, format("tensor %s needs %llu bytes and has %llu", name.c_str(),
                                static_cast<unsigned long long>(needed), static_cast<unsigned long long>(bytes)));
  }
  return ok_status();
}

}  // namespace

Status check_ptd(const void* data, size_t size, const std::string& path) {
  const auto* bytes = static_cast<const uint8_t*>(data);
  Header header;
  if (size < kHeaderAt + sizeof header) return corrupt(path, "it ends in its header");
  std::memcpy(&header, bytes + kHeaderAt, sizeof header);
  if (!flatbuffers::BufferHasIdentifier(data, fb::FileIdentifier()) || std::memcmp(header.magic, "FH01", 4) != 0 ||
      header.length < sizeof header)
    return corrupt(path, "it has no header of that format");
  // Offsets of the tables count from the beginning of the file; the header lies among them.
  uint64_t end;
  if (__builtin_add_overflow(header.tables_offset, header.tables_size, &end) || end > size ||
      end < kHeaderAt + sizeof header)
    return corrupt(path, "its tables do not lie inside it");
  flatbuffers::Verifier verifier(bytes, static_cast<size_t>(end));
  if (!fb::VerifyFileBuffer(verifier)) return corrupt(path, "its tables are damaged");
  const fb::File& file = *fb::GetFile(data);
  if (file.entries() == nullptr || file.segments() == nullptr) return corrupt(path, "it names no data");
  std::set<std::string> keys;
  for (uint32_t i = 0; i < file.entries()->size(); ++i) {
    const fb::Entry& entry = *file.entries()->Get(i);
    if (entry.key() == nullptr) return corrupt(path, format("entry %u has no key", i));
    if (!keys.insert(entry.key()->str()).second) return corrupt(path, "'" + entry.key()->str() + "' is there twice");
    if (entry.segment() >= file.segments()->size())
      return corrupt(
          path, format("'%s' names segment %u of %u", entry.key()->c_str(), entry.segment(), file.segments()->size()));
    const fb::Segment& segment = *file.segments()->Get(entry.segment());
    uint64_t from, to;
    if (__builtin_add_overflow(header.base, segment.offset(), &from) ||
        __builtin_add_overflow(from, segment.size(), &to) || to > size)
      return corrupt(path, "the data of '" + entry.key()->str() + "' does not lie inside it");
    ETGGML_RETURN_IF_ERROR(check_layout(entry, segment.size(), path));
  }
  return ok_status();
}

}  // namespace etggml::program
