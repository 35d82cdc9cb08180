// The meta data of a method.
#include <executorch/runtime/executor/program.h>

#include "program/executorch_call.h"
#include "program/layout.h"
#include "program/method.h"
#include "util/scalar_type.h"

namespace etggml::program {
namespace {

using executorch::runtime::Error;
using executorch::runtime::MethodMeta;
using executorch::runtime::Tag;
using executorch::runtime::TensorInfo;

ValueInfo::Kind kind_of(Tag tag) {
  switch (tag) {
    case Tag::Tensor:
      return ValueInfo::Kind::Tensor;
    case Tag::Int:
      return ValueInfo::Kind::Int;
    case Tag::Double:
      return ValueInfo::Kind::Double;
    case Tag::Bool:
      return ValueInfo::Kind::Bool;
    case Tag::None:
      return ValueInfo::Kind::None;
    default:
      return ValueInfo::Kind::Other;
  }
}

template <class TagOf, class InfoOf>
Result<std::vector<ValueInfo>> values(const PteFile& file, const std::string& method, const char* what, size_t count,
                                      TagOf tag_of, InfoOf info_of) {
  std::vector<ValueInfo> out(count);
  for (size_t i = 0; i < count; ++i) {
    auto tag = tag_of(i);
    if (!tag.ok())
      return error(ETGGML_FORMAT, "%s, method '%s': %s %zu: %s", file.path().c_str(), method.c_str(), what, i,
                   describe(tag.error()).c_str());
    out[i].kind = kind_of(*tag);
    out[i].name = format("%s %zu", what, i);
    if (*tag != Tag::Tensor) continue;
    auto info = info_of(i);
    if (!info.ok())
      return error(ETGGML_FORMAT, "%s, method '%s': %s %zu: %s", file.path().c_str(), method.c_str(), what, i,
                   describe(info.error()).c_str());
    out[i].dtype = static_cast<int32_t>(info->scalar_type());
    if (!info->name().empty()) out[i].name = std::string(info->name());
    for (int32_t size : info->sizes()) out[i].bound.push_back(size);
    ETGGML_ASSIGN_OR_RETURN(out[i].order, checked_order(info->dim_order().data(), info->dim_order().size(),
                                                        out[i].bound.size(), file.path(), method, out[i].name));
  }
  return out;
}

Result<MethodMeta> meta_of(const PteFile& file, const std::string& method) {
  auto meta = file.program().method_meta(method.c_str());
  if (meta.ok()) return *meta;
  std::string known;
  for (const std::string& name : file.methods()) known += (known.empty() ? "'" : ", '") + name + "'";
  return error(ETGGML_INVALID_ARGUMENT, "%s has no method '%s'; it has %s", file.path().c_str(), method.c_str(),
               known.c_str());
}

const char* kind_name(ValueInfo::Kind kind) {
  static const char* const names[] = {"tensor", "int", "float", "bool", "none", "other"};
  return names[static_cast<int>(kind)];
}

Json values_json(const std::vector<ValueInfo>& list) {
  Json out = Json::array();
  for (const ValueInfo& value : list) {
    Json entry = {{"name", value.name}, {"kind", kind_name(value.kind)}};
    if (value.kind == ValueInfo::Kind::Tensor) {
      entry["dtype"] = value.dtype;
      entry["dtype_name"] = scalar_name(value.dtype);
      entry["shape"] = value.bound;
    }
    out.push_back(entry);
  }
  return out;
}

}  // namespace

Result<std::vector<ValueInfo>> method_inputs(const PteFile& file, const std::string& method) {
  return call_executorch(file.path(), [&]() -> Result<std::vector<ValueInfo>> {
    ETGGML_ASSIGN_OR_RETURN(const MethodMeta meta, meta_of(file, method));
    return values(
        file, method, "input", meta.num_inputs(), [&](size_t i) { return meta.input_tag(i); },
        [&](size_t i) { return meta.input_tensor_meta(i); });
  });
}

Result<std::vector<ValueInfo>> method_outputs(const PteFile& file, const std::string& method) {
  return call_executorch(file.path(), [&]() -> Result<std::vector<ValueInfo>> {
    ETGGML_ASSIGN_OR_RETURN(const MethodMeta meta, meta_of(file, method));
    return values(
        file, method, "output", meta.num_outputs(), [&](size_t i) { return meta.output_tag(i); },
        [&](size_t i) { return meta.output_tensor_meta(i); });
  });
}

Result<Json> method_json(const PteFile& file, const std::string& method) {
  ETGGML_ASSIGN_OR_RETURN(const std::vector<ValueInfo> inputs, method_inputs(file, method));
  ETGGML_ASSIGN_OR_RETURN(const std::vector<ValueInfo> outputs, method_outputs(file, method));
  ETGGML_ASSIGN_OR_RETURN(const std::string structure, file.result_structure(method));
  Json json = {{"name", method}, {"inputs", values_json(inputs)}, {"outputs", values_json(outputs)}};
  if (!structure.empty()) json["result_structure"] = structure;
  return json;
}

}  // namespace etggml::program
