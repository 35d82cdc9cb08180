// The GGUF part of the C ABI: a thin skin over gguf::FileSet.
#include "capi/gguf.h"

#include <cstring>
#include <new>
#include <string>

#include "capi/error.h"
#include "gguf/text.h"
#include "util/json.h"
#include "util/nearest.h"

namespace etggml::capi {
namespace {

Result<gguf::Limits> parse_limits(const char* json) {
  ETGGML_ASSIGN_OR_RETURN(const Json object, parse_object(json, "GGUF options"));
  ETGGML_RETURN_IF_ERROR(only_known_keys(object, {"max_string", "max_array"}, "GGUF options"));
  gguf::Limits limits;
  auto max_string = static_cast<int64_t>(limits.max_string), max_array = static_cast<int64_t>(limits.max_array);
  ETGGML_RETURN_IF_ERROR(read_int(object, "max_string", 0, INT64_MAX, &max_string));
  ETGGML_RETURN_IF_ERROR(read_int(object, "max_array", 0, INT64_MAX, &max_array));
  limits.max_string = static_cast<uint64_t>(max_string);
  limits.max_array = static_cast<uint64_t>(max_array);
  return limits;
}

// A struct that grows later is longer than the one an old caller has; so far there is one length.
template <class T>
Status check_out(const T* out) {
  if (out == nullptr) return null_pointer("out");
  if (out->struct_size < sizeof(T)) {
    return error(ETGGML_INVALID_ARGUMENT, "out->struct_size is %zu; set it to sizeof *out (at least %zu)",
                 out->struct_size, sizeof(T));
  }
  return ok_status();
}

void fill(const gguf::Tensor& tensor, etggml_gguf_tensor* out) {
  out->name = tensor.name.c_str();
  out->type = tensor.type;
  out->n_dims = tensor.n_dims;
  std::memcpy(out->ne, tensor.ne.data(), sizeof out->ne);
  out->data = tensor.data;
  out->nbytes = tensor.nbytes;
  out->file_offset = tensor.file_offset;
  out->shard = tensor.shard;
}

void fill(const gguf::KeyValue& kv, etggml_gguf_kv* out) {
  out->key = kv.key.c_str();
  out->type = kv.type;
  out->element_type = kv.element_type;
  out->count = kv.count;
  out->data = kv.data;
  out->nbytes = kv.nbytes;
}

// Entry `index` of a table, or a message that says how many there are.
template <class Entry, class Out>
Status entry_at(const etggml_gguf* gguf, const std::vector<Entry>& entries, size_t index, const char* what, Out* out) {
  ETGGML_RETURN_IF_ERROR(check_out(out));
  if (index >= entries.size()) {
    return error(ETGGML_INVALID_ARGUMENT, "%s: %s %zu is out of range; there are %zu", gguf->files->path().c_str(),
                 what, index, entries.size());
  }
  fill(entries[index], out);
  return ok_status();
}

Status not_found(const etggml_gguf* gguf, const char* what, const std::string& name,
                 const std::vector<std::string>& nearest) {
  const std::string hint = nearest.empty() ? "" : "; did you mean " + join_quoted(nearest) + "?";
  return error(ETGGML_BIND, "%s: there is no %s %s%s", gguf->files->path().c_str(), what, gguf::quote(name).c_str(),
               hint.c_str());
}

}  // namespace
}  // namespace etggml::capi

using namespace etggml;        // NOLINT: this file is nothing but the boundary
using namespace etggml::capi;  // NOLINT

etggml_status etggml_gguf_open(const char* path, const char* options_json, etggml_gguf** out) {
  return guard([&]() -> Status {
    if (path == nullptr) return null_pointer("path");
    if (out == nullptr) return null_pointer("out");
    ETGGML_ASSIGN_OR_RETURN(const gguf::Limits limits, parse_limits(options_json));
    ETGGML_ASSIGN_OR_RETURN(auto files, gguf::FileSet::open(path, limits));
    *out = new etggml_gguf{std::move(files)};
    return ok_status();
  });
}

void etggml_gguf_close(etggml_gguf* gguf) { delete gguf; }

size_t etggml_gguf_tensor_count(const etggml_gguf* gguf) { return gguf == nullptr ? 0 : gguf->files->tensors().size(); }

etggml_status etggml_gguf_tensor_at(const etggml_gguf* gguf, size_t index, etggml_gguf_tensor* out) {
  return guard([&]() -> Status {
    if (gguf == nullptr) return null_pointer("gguf");
    return entry_at(gguf, gguf->files->tensors(), index, "tensor", out);
  });
}

etggml_status etggml_gguf_tensor_find(const etggml_gguf* gguf, const char* name, etggml_gguf_tensor* out) {
  return guard([&]() -> Status {
    if (gguf == nullptr) return null_pointer("gguf");
    if (name == nullptr) return null_pointer("name");
    ETGGML_RETURN_IF_ERROR(check_out(out));
    const gguf::Tensor* tensor = gguf->files->find(name);
    if (tensor == nullptr) return not_found(gguf, "tensor", name, gguf->files->nearest(name, 3));
    ETGGML_RETURN_IF_ERROR(gguf->files->check_unchanged());
    fill(*tensor, out);
    return ok_status();
  });
}

size_t etggml_gguf_kv_count(const etggml_gguf* gguf) { return gguf == nullptr ? 0 : gguf->files->kvs().size(); }

etggml_status etggml_gguf_kv_at(const etggml_gguf* gguf, size_t index, etggml_gguf_kv* out) {
  return guard([&]() -> Status {
    if (gguf == nullptr) return null_pointer("gguf");
    return entry_at(gguf, gguf->files->kvs(), index, "metadata entry", out);
  });
}

etggml_status etggml_gguf_kv_find(const etggml_gguf* gguf, const char* key, etggml_gguf_kv* out) {
  return guard([&]() -> Status {
    if (gguf == nullptr) return null_pointer("gguf");
    if (key == nullptr) return null_pointer("key");
    ETGGML_RETURN_IF_ERROR(check_out(out));
    const gguf::KeyValue* kv = gguf->files->kv(key);
    if (kv == nullptr) {
      std::vector<std::string> keys;
      for (const gguf::KeyValue& entry : gguf->files->kvs()) keys.push_back(entry.key);
      return not_found(gguf, "metadata key", key, nearest_names(key, keys));
    }
    ETGGML_RETURN_IF_ERROR(gguf->files->check_unchanged());
    fill(*kv, out);
    return ok_status();
  });
}

etggml_status etggml_gguf_info(const etggml_gguf* gguf, char** json) {
  return guard([&]() -> Status {
    if (gguf == nullptr) return null_pointer("gguf");
    if (json == nullptr) return null_pointer("json");
    return copy_out(gguf->files->info_json(), json);
  });
}
