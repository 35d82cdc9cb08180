#include "gguf/file_set.h"

#include <cinttypes>
#include <new>
#include <utility>

#include "gguf/index.h"
#include "gguf/parse.h"
#include "gguf/split.h"
#include "gguf/text.h"
#include "util/json.h"
#include "util/mapping.h"
#include "util/nearest.h"

namespace etggml::gguf {

namespace {

const KeyValue* find_kv(const std::vector<KeyValue>& kvs, std::string_view key) {
  for (const KeyValue& kv : kvs) {
    if (kv.key == key) return &kv;
  }
  return nullptr;
}

class MappedFileSet final : public FileSet {
 public:
  Status load(const std::string& path, const Limits& limits) {
    ETGGML_ASSIGN_OR_RETURN(Parsed first, map_and_parse(path, limits));
    ETGGML_ASSIGN_OR_RETURN(const SplitInfo split, split_info(first.kvs, path));
    if (split.no != 0) {
      return error(ETGGML_INVALID_ARGUMENT, "%s: is shard %" PRIu64 " of %" PRIu64 "; open the first shard",
                   path.c_str(), split.no + 1, split.count);
    }
    kvs_ = std::move(first.kvs);
    append(path, first);
    if (split.count > 1) ETGGML_RETURN_IF_ERROR(load_others(path, split, limits));

    const auto [one, again] = build_index(&tensor_index_, tensors_.size(), [this](size_t i) { return tensor_name(i); });
    if (one >= 0) {
      const Tensor &a = tensors_[static_cast<size_t>(one)], &b = tensors_[static_cast<size_t>(again)];
      return error(ETGGML_FORMAT,
                   "%s: the tensor name %s is a duplicate: it is in %s too; the shards are not of one set",
                   shards_[b.shard].path.c_str(), quote(a.name).c_str(), shards_[a.shard].path.c_str());
    }
    build_index(&kv_index_, kvs_.size(), [this](size_t i) { return std::string_view(kvs_[i].key); });
    for (const auto& mapping : mappings_) {
      if (!id_.empty()) id_ += '|';
      id_ += mapping->file().id();
    }
    return ok_status();
  }

  Status check_unchanged() const override {
    for (const auto& mapping : mappings_) ETGGML_RETURN_IF_ERROR(mapping->file().check_unchanged());
    return ok_status();
  }

  void remember(int64_t nanoseconds) const override {
    const auto shares = static_cast<int64_t>(mappings_.size());
    for (const auto& mapping : mappings_) mapping->file().remember(nanoseconds / shares);
  }

 private:
  std::string_view tensor_name(size_t i) const { return tensors_[i].name; }

  Result<Parsed> map_and_parse(const std::string& path, const Limits& limits) {
    ETGGML_ASSIGN_OR_RETURN(auto mapping, Mapping::open(path, "a GGUF file"));
    ETGGML_ASSIGN_OR_RETURN(Parsed parsed, parse(mapping->base(), mapping->size(), path, limits));
    mappings_.push_back(std::move(mapping));
    return parsed;
  }

  // Of the mapping opened last.
  void append(const std::string& path, Parsed& parsed) {
    const auto shard = static_cast<uint32_t>(shards_.size());
    Shard& s = shards_.emplace_back();
    s.path = path;
    s.base = mappings_.back()->base();
    s.size = mappings_.back()->size();
    s.data_offset = parsed.data_offset;
    s.version = parsed.version;
    s.alignment = parsed.alignment;
    for (Tensor& tensor : parsed.tensors) {
      tensor.shard = shard;
      tensors_.push_back(std::move(tensor));
    }
  }

  Status load_others(const std::string& path, const SplitInfo& split, const Limits& limits) {
    ETGGML_ASSIGN_OR_RETURN(const std::vector<std::string> paths, shard_paths(path, split.count));
    for (size_t i = 1; i < paths.size(); ++i) {
      Result<Parsed> parsed = map_and_parse(paths[i], limits);
      if (!parsed.ok()) {
        if (parsed.status().code != ETGGML_IO) return parsed.take_status();
        return error(ETGGML_IO, "%s (shard %zu of the %" PRIu64 " that %s announces)", parsed.status().message.c_str(),
                     i + 1, split.count, path.c_str());
      }
      ETGGML_RETURN_IF_ERROR(check_member(paths[i], parsed->kvs, i, path, split));
      append(paths[i], *parsed);
    }
    if (split.has_tensors && split.tensors != tensors_.size()) {
      return error(ETGGML_FORMAT,
                   "%s: 'split.tensors.count' is %" PRIu64 ", but the shards hold %zu tensors; a shard is foreign",
                   path.c_str(), split.tensors, tensors_.size());
    }
    return ok_status();
  }

  Status check_member(const std::string& path, const std::vector<KeyValue>& kvs, size_t index, const std::string& first,
                      const SplitInfo& set) {
    ETGGML_ASSIGN_OR_RETURN(const SplitInfo split, split_info(kvs, path));
    if (split.count != set.count) {
      return error(ETGGML_FORMAT,
                   "%s: is a foreign shard: of a set of %" PRIu64 " files, but %s is of a set of %" PRIu64,
                   path.c_str(), split.count, first.c_str(), set.count);
    }
    if (split.no != index) {
      return error(ETGGML_FORMAT,
                   "%s: a repeated or misnamed shard: it holds shard %" PRIu64
                   " where %zu of the set of %s is expected",
                   path.c_str(), split.no + 1, index + 1, first.c_str());
    }
    if (split.has_tensors && set.has_tensors && split.tensors != set.tensors) {
      return error(ETGGML_FORMAT,
                   "%s: is a foreign shard: of a set of %" PRIu64 " tensors, but %s is of a set of %" PRIu64,
                   path.c_str(), split.tensors, first.c_str(), set.tensors);
    }
    std::string_view here, there;
    const KeyValue *a = find_kv(kvs, "general.architecture"), *b = find_kv(kvs_, "general.architecture");
    if (a != nullptr && b != nullptr && a->as_string(&here) && b->as_string(&there) && here != there) {
      return error(ETGGML_FORMAT, "%s: is a foreign shard: of a model of architecture %s, but %s is of %s",
                   path.c_str(), quote(here).c_str(), first.c_str(), quote(there).c_str());
    }
    return ok_status();
  }

  std::vector<std::unique_ptr<Mapping>> mappings_;
};

}  // namespace

Result<std::shared_ptr<const FileSet>> FileSet::open(const std::string& path, const Limits& limits) {
  try {  // the tables are the only allocations, bounded by the file's size; still, memory can run out
    auto set = std::make_shared<MappedFileSet>();
    ETGGML_RETURN_IF_ERROR(set->load(path, limits));
    return std::shared_ptr<const FileSet>(std::move(set));
  } catch (const std::bad_alloc&) {
    return error(ETGGML_OUT_OF_MEMORY, "%s: out of memory while reading the tables of the file", path.c_str());
  }
}

const Tensor* FileSet::find(std::string_view name) const {
  const int64_t i = find_in_index(tensor_index_, name, [this](size_t k) { return std::string_view(tensors_[k].name); });
  return i < 0 ? nullptr : &tensors_[static_cast<size_t>(i)];
}

const KeyValue* FileSet::kv(std::string_view key) const {
  const int64_t i = find_in_index(kv_index_, key, [this](size_t k) { return std::string_view(kvs_[k].key); });
  return i < 0 ? nullptr : &kvs_[static_cast<size_t>(i)];
}

std::vector<std::string> FileSet::nearest(std::string_view name, size_t n) const {
  std::vector<std::string> names;
  names.reserve(tensors_.size());
  for (const Tensor& tensor : tensors_) names.push_back(tensor.name);
  return nearest_names(std::string(name), names, n);
}

std::string FileSet::info_json() const {
  Json paths = Json::array();
  uint64_t file_bytes = 0, data_bytes = 0;
  for (const Shard& shard : shards_) {
    paths.push_back(shard.path);
    file_bytes += shard.size;
  }
  for (const Tensor& tensor : tensors_) data_bytes += tensor.nbytes;
  const Json info = {{"path", path()},
                     {"paths", paths},
                     {"version", shards_.front().version},
                     {"alignment", shards_.front().alignment},
                     {"tensors", tensors_.size()},
                     {"kvs", kvs_.size()},
                     {"data_bytes", data_bytes},
                     {"file_bytes", file_bytes},
                     {"id", id_}};
  return to_text(info);
}

}  // namespace etggml::gguf
