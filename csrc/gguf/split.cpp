#include "gguf/split.h"

#include <cinttypes>

namespace etggml::gguf {

namespace {

constexpr uint64_t kMaxShards = 99999;  // five digits in the file name

// Position of "-00001-of-00003.gguf" in a path of that form, with both numbers; npos otherwise.
size_t parse_suffix(const std::string& path, uint64_t* no, uint64_t* count) {
  constexpr size_t kLength = sizeof("-00001-of-00003.gguf") - 1;
  if (path.size() < kLength) return std::string::npos;
  const size_t at = path.size() - kLength;
  const std::string suffix = path.substr(at);
  if (suffix[0] != '-' || suffix.compare(6, 4, "-of-") != 0 || suffix.compare(15, 5, ".gguf") != 0)
    return std::string::npos;
  *no = *count = 0;
  for (size_t i = 1; i <= 5; ++i) {
    const char a = suffix[i], b = suffix[i + 9];
    if (a < '0' || a > '9' || b < '0' || b > '9') return std::string::npos;
    *no = *no * 10 + static_cast<uint64_t>(a - '0');
    *count = *count * 10 + static_cast<uint64_t>(b - '0');
  }
  return at;
}

std::string shard_path(const std::string& prefix, uint64_t number, uint64_t count) {
  return prefix + format("-%05" PRIu64 "-of-%05" PRIu64 ".gguf", number, count);
}

// *found says whether the key is there; an entry that is no unsigned integer is an error.
Status read_number(const std::vector<KeyValue>& kvs, const char* key, const std::string& origin, uint64_t* out,
                   bool* found) {
  *found = false;
  for (const KeyValue& kv : kvs) {
    if (kv.key != key) continue;
    if (!kv.as_u64(out)) {
      return error(ETGGML_FORMAT, "%s: '%s' must be a non-negative integer; it is of type %s", origin.c_str(), key,
                   value_type_name(kv.type));
    }
    *found = true;
  }
  return ok_status();
}

}  // namespace

Result<SplitInfo> split_info(const std::vector<KeyValue>& kvs, const std::string& origin) {
  SplitInfo info;
  bool has_no = false, has_count = false;
  ETGGML_RETURN_IF_ERROR(read_number(kvs, "split.count", origin, &info.count, &has_count));
  ETGGML_RETURN_IF_ERROR(read_number(kvs, "split.no", origin, &info.no, &has_no));
  ETGGML_RETURN_IF_ERROR(read_number(kvs, "split.tensors.count", origin, &info.tensors, &info.has_tensors));
  if (!has_count || info.count <= 1) {  // writers leave split.count = 0 or 1 in files that are not split
    if (has_no && info.no != 0) {
      return error(ETGGML_FORMAT, "%s: 'split.no' is %" PRIu64 ", but 'split.count' says that there is one file",
                   origin.c_str(), info.no);
    }
    info.count = 1;
    info.no = 0;
    return info;
  }
  if (info.count > kMaxShards) {
    return error(ETGGML_FORMAT, "%s: 'split.count' is %" PRIu64 "; at most %" PRIu64 " shards are possible",
                 origin.c_str(), info.count, kMaxShards);
  }
  if (!has_no || info.no >= info.count) {
    return error(ETGGML_FORMAT, "%s: 'split.no' is %s; it must be below 'split.count', %" PRIu64, origin.c_str(),
                 has_no ? format("%" PRIu64, info.no).c_str() : "missing", info.count);
  }
  return info;
}

Result<std::vector<std::string>> shard_paths(const std::string& first, uint64_t count) {
  uint64_t no = 0, named_count = 0;
  const size_t at = parse_suffix(first, &no, &named_count);
  if (at == std::string::npos) {
    return error(ETGGML_FORMAT,
                 "%s: is the first of %" PRIu64 " shards, but its name does not end in '-00001-of-%05" PRIu64
                 ".gguf', so that the others cannot be found; give the files their original names",
                 first.c_str(), count, count);
  }
  if (no != 1 || named_count != count) {
    return error(ETGGML_FORMAT,
                 "%s: holds shard 1 of %" PRIu64 ", but its name says %" PRIu64 " of %" PRIu64
                 "; give the files their original names",
                 first.c_str(), count, no, named_count);
  }
  std::vector<std::string> paths;
  const std::string prefix = first.substr(0, at);
  for (uint64_t i = 1; i <= count; ++i) paths.push_back(shard_path(prefix, i, count));
  return paths;
}

}  // namespace etggml::gguf
