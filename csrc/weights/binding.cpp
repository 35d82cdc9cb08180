#include "weights/binding.h"

#include <algorithm>
#include <optional>
#include <set>
#include <utility>

#include "devices/types.h"
#include "util/nearest.h"

namespace etggml::weights {
namespace {

namespace fb = ir::fb;

constexpr uint8_t kAnyType = 255;

std::string text(const flatbuffers::String* s) { return s == nullptr ? "" : s->str(); }

using Shape = std::array<int64_t, 4>;

/// A part of a weight where it was found.
struct Found {
  Part part;
  Shape ne{0, 0, 0, 0};  ///< as its file says; zeros where the bytes are all that is known
};

/// Nothing without a value: the problem is in the report. A Status is an I/O failure of a source.
template <class T>
using Checked = Result<std::optional<T>>;

class Binder {
 public:
  Binder(const ir::Graph& ir_graph, const Sources& sources, bool on_cpu, Report* report)
      : ir_graph_(ir_graph), sources_(sources), on_cpu_(on_cpu), report_(report) {}

  Checked<BoundSlot> bind(uint32_t index) const {
    const fb::WeightSlot& slot = *ir_graph_.payload().weights()->Get(index);
    BoundSlot bound;
    bound.slot = index;
    bound.name = text(slot.name());
    bound.ne = ir_graph_.shape(slot.shape(), {});
    std::vector<Shape> shapes;  // of the parts
    for (const fb::WeightPart* part : *slot.parts()) {
      ETGGML_ASSIGN_OR_RETURN(std::optional<Found> found, find(slot, *part));
      if (!found) return std::optional<BoundSlot>();
      bound.parts.push_back(std::move(found->part));
      shapes.push_back(found->ne);
    }
    if (!check_shapes(slot, bound, shapes) || !decide_type(slot, &bound) || !check_sizes(bound))
      return std::optional<BoundSlot>();
    return std::optional<BoundSlot>(std::move(bound));
  }

 private:
  Checked<Found> find(const fb::WeightSlot& slot, const fb::WeightPart& part) const {
    for (const flatbuffers::String* key : *part.keys()) {
      if (sources_.files == nullptr) break;
      if (std::optional<Found> found = take(sources_.files, key->str())) return found;
    }
    for (const flatbuffers::String* key : *part.keys()) {
      if (sources_.named == nullptr) break;
      Blob blob;
      bool found = false;
      ETGGML_RETURN_IF_ERROR(sources_.named->get(key->str(), &blob, &found));
      if (!found) continue;
      if (slot.type() == kAnyType || !devices::type_known(slot.type())) {
        report_->add({Problem::Kind::Type,
                      key->str(),
                      "a type in the graph",
                      "none",
                      {},
                      format("weight '%s' lies in the .pte, but the graph does not say its type; export it again",
                             key->c_str())});
        return std::optional<Found>();
      }
      std::optional<Found> embedded(std::in_place);
      embedded->part.key = key->str();
      embedded->part.type = static_cast<ggml_type>(slot.type());
      embedded->part.data = blob.data;
      embedded->part.nbytes = blob.size;
      embedded->part.owner = blob.owner;
      report_->bytes += blob.size;
      return embedded;
    }
    for (const auto& files : sources_.process) {
      for (const flatbuffers::String* key : *part.keys()) {
        if (std::optional<Found> found = take(files, key->str())) return found;
      }
    }
    missing(slot, part);
    return std::optional<Found>();
  }

  std::optional<Found> take(const std::shared_ptr<const gguf::FileSet>& files, const std::string& key) const {
    const gguf::Tensor* tensor = files->find(key);
    if (tensor == nullptr) return std::nullopt;
    std::optional<Found> found(std::in_place);
    found->part.key = key;
    found->part.type = static_cast<ggml_type>(tensor->type);
    found->part.data = tensor->data;
    found->part.nbytes = static_cast<size_t>(tensor->nbytes);
    found->part.files = files;
    found->part.shard = tensor->shard;
    found->ne = tensor->ne;
    if (report_->used.insert(key).second) report_->bytes += tensor->nbytes;
    return found;
  }

  void missing(const fb::WeightSlot& slot, const fb::WeightPart& part) const {
    Problem problem;
    problem.kind = Problem::Kind::Missing;
    std::vector<std::string> keys;
    for (const flatbuffers::String* key : *part.keys()) keys.push_back(key->str());
    problem.key = keys.front();
    problem.expected = shape_text(ir_graph_.shape(slot.shape(), {}).data());
    problem.found = "nothing";
    std::string searched;
    auto add = [&](const std::string& where) { searched += (searched.empty() ? "" : ", ") + where; };
    if (sources_.files) {
      add(sources_.files->path());
      problem.nearest = sources_.files->nearest(problem.key, 8);
    }
    if (sources_.named != nullptr) add("the .pte");
    for (const auto& files : sources_.process) add(files->path());
    problem.message = format("weight %s was not found in %s", join_quoted(keys).c_str(),
                             searched.empty() ? "any file" : searched.c_str());
    report_->add(std::move(problem));
  }

  // Every GGUF part's shape against the slot's; embedded parts have no shape of their own.
  bool check_shapes(const fb::WeightSlot& slot, const BoundSlot& bound, const std::vector<Shape>& shapes) const {
    int axis = 3;
    while (axis > 0 && bound.ne[axis] == 1) --axis;
    int64_t along = 0;
    bool known = true;
    for (size_t i = 0; i < shapes.size(); ++i) {
      const Shape& ne = shapes[i];
      if (ne[0] == 0) {
        known = false;
        continue;
      }
      Shape wanted = bound.ne;
      if (shapes.size() > 1) wanted[axis] = ne[axis];  // any share of the concatenated dimension
      along += ne[axis];
      if (ne == wanted) continue;
      wrong_shape(bound.parts[i], wanted, ne, shapes.size() > 1);
      return false;
    }
    if (known && along != bound.ne[axis]) {
      Problem problem;
      problem.kind = Problem::Kind::Shape;
      problem.key = bound.parts.front().key;
      problem.expected = shape_text(bound.ne.data());
      problem.found = format("%lld along the joined dimension", static_cast<long long>(along));
      problem.message =
          format("weight '%s' is joined from %zu tensors that have %lld rows together, the graph needs %lld",
                 text(slot.name()).c_str(), shapes.size(), static_cast<long long>(along),
                 static_cast<long long>(bound.ne[axis]));
      report_->add(std::move(problem));
      return false;
    }
    return true;
  }

  void wrong_shape(const Part& part, const Shape& wanted, const Shape& ne, bool joined) const {
    Problem problem;
    problem.kind = Problem::Kind::Shape;
    problem.key = part.key;
    problem.expected = shape_text(wanted.data());
    problem.found = shape_text(ne.data());
    const bool transposed =
        !joined && ne[0] == wanted[1] && ne[1] == wanted[0] && ne[2] == wanted[2] && ne[3] == wanted[3];
    problem.message = format("weight '%s' in %s has shape %s, the graph needs %s (ggml order)%s", part.key.c_str(),
                             part.files ? part.files->path().c_str() : "the .pte", problem.found.c_str(),
                             problem.expected.c_str(), transposed ? ": it is transposed; convert the model again" : "");
    report_->add(std::move(problem));
  }

  bool decide_type(const fb::WeightSlot& slot, BoundSlot* bound) const {
    bool mixed = false;
    for (const Part& part : bound->parts) {
      mixed = mixed || part.type != bound->parts.front().type;
      if (slot.type() != kAnyType && part.type != slot.type()) {
        return wrong_type(part, devices::type_name(slot.type()),
                          "the graph was exported with weights of that type inside");
      }
    }
    ggml_type type = bound->parts.front().type;
    if (slot.cast() != kAnyType && devices::type_known(slot.cast())) {
      type = static_cast<ggml_type>(slot.cast());
    } else if (mixed) {
      type = GGML_TYPE_F32;  // the one type that loses nothing of any other
    } else if (slot.type() == kAnyType && slot.usage() == fb::WeightUsage_Elementwise && type != GGML_TYPE_I32) {
      type = GGML_TYPE_F32;  // element-wise kernels want F32; norms and biases are small
    }
    for (const Part& part : bound->parts) {
      if (part.type == type) continue;
      bound->cast = true;
      if (!devices::has_to_float(part.type) || !devices::has_from_float(type)) {
        return wrong_type(part, devices::type_name(type), "there is no conversion between the two");
      }
    }
    bound->type = type;
    if (slot.usage() == fb::WeightUsage_Rows && !devices::can_get_rows(type)) {
      return wrong_type(bound->parts.front(), "a type whose rows can be looked up", "ggml cannot read rows of it");
    }
    if (slot.usage() == fb::WeightUsage_MatMul && on_cpu_ && !devices::cpu_can_multiply(type)) {
      return wrong_type(bound->parts.front(), "a type matrices can be multiplied in",
                        "ggml's CPU backend cannot multiply by it");
    }
    return true;
  }

  bool wrong_type(const Part& part, const std::string& wanted, const char* why) const {
    Problem problem;
    problem.kind = Problem::Kind::Type;
    problem.key = part.key;
    problem.expected = wanted;
    problem.found = devices::type_name(part.type);
    problem.message = format("weight '%s' has type %s, needed: %s (%s)", part.key.c_str(), problem.found.c_str(),
                             wanted.c_str(), why);
    report_->add(std::move(problem));
    return false;
  }

  // The bytes of embedded data are all we know of its shape.
  bool check_sizes(const BoundSlot& bound) const {
    int64_t elements = 1;
    for (int64_t n : bound.ne) elements *= n;
    size_t total = 0;
    bool same_type = true;
    for (const Part& part : bound.parts) {
      total += part.nbytes;
      same_type = same_type && part.type == bound.parts.front().type;
    }
    if (!same_type) return true;  // only possible for GGUF parts, of checked shapes
    const ggml_type type = bound.parts.front().type;
    const Result<size_t> row = devices::row_bytes(type, bound.ne[0]);
    const uint64_t needed = row.ok() ? static_cast<uint64_t>(*row) * static_cast<uint64_t>(elements / bound.ne[0]) : 0;
    if (row.ok() && needed == total) return true;
    Problem problem;
    problem.kind = Problem::Kind::Shape;
    problem.key = bound.parts.front().key;
    problem.expected =
        row.ok() ? format("%llu bytes", static_cast<unsigned long long>(needed)) : shape_text(bound.ne.data());
    problem.found = format("%zu bytes", total);
    problem.message = row.ok() ? format("weight '%s' has %zu bytes, %s of shape %s needs %llu", problem.key.c_str(),
                                        total, ggml_type_name(type), shape_text(bound.ne.data()).c_str(),
                                        static_cast<unsigned long long>(needed))
                               : format("weight '%s': %s", problem.key.c_str(), row.status().message.c_str());
    report_->add(std::move(problem));
    return false;
  }

  const ir::Graph& ir_graph_;
  const Sources& sources_;
  const bool on_cpu_;
  Report* report_;
};

}  // namespace

std::vector<uint32_t> used_slots(const ir::Graph& ir_graph) {
  std::set<uint32_t> slots;
  for (uint32_t i = 0; i < ir_graph.node_count(); ++i) {
    if (!ir_graph.live(i)) continue;
    if (const fb::WeightLeaf* leaf = ir_graph.node(i).op_as_WeightLeaf()) slots.insert(leaf->slot());
  }
  return {slots.begin(), slots.end()};
}

Result<std::vector<BoundSlot>> bind_weights(const ir::Graph& ir_graph, const Sources& sources, bool on_cpu,
                                            Report* report) {
  std::vector<BoundSlot> slots;
  const Binder binder(ir_graph, sources, on_cpu, report);
  for (uint32_t index : used_slots(ir_graph)) {
    ETGGML_ASSIGN_OR_RETURN(std::optional<BoundSlot> bound, binder.bind(index));
    for (const fb::WeightPart* part : *ir_graph.payload().weights()->Get(index)->parts())
      report->needed.insert(part->keys()->Get(0)->str());
    if (bound) slots.push_back(std::move(*bound));
  }
  return slots;
}

}  // namespace etggml::weights
