// Weights of a graph against the tensors of a file: what fits, what does not and why, and what is copied.
#include <cmath>
#include <cstring>
#include <map>

#include "devices/types.h"
#include "gguf/index.h"
#include "ir_run.h"
#include "weights/binding.h"
#include "weights/weight_store.h"

using namespace etggml;
using namespace irtest;
using weights::BoundSlot;
using weights::Problem;

namespace {

/// Tensors in one block of memory, as a file would map them.
class MemoryFiles final : public gguf::FileSet {
 public:
  struct Entry {
    const char* name;
    ggml_type type;
    std::array<int64_t, 4> ne;
    size_t gap = 0;  // bytes left free before it
  };
  explicit MemoryFiles(const std::vector<Entry>& entries) : memory_(1 << 16) {
    const auto base = reinterpret_cast<uintptr_t>(memory_.data());
    size_t at = (64 - base % 64) % 64;
    shards_.push_back({"memory.gguf", memory_.data() + at, memory_.size() - at});
    for (const Entry& e : entries) {
      at += e.gap;
      gguf::Tensor t;
      t.name = e.name;
      t.type = e.type;
      t.ne = e.ne;
      t.nbytes = ggml_row_size(e.type, e.ne[0]) * static_cast<size_t>(e.ne[1] * e.ne[2] * e.ne[3]);
      t.data = memory_.data() + at;
      const int64_t elements = e.ne[0] * e.ne[1] * e.ne[2] * e.ne[3];
      std::vector<float> values(static_cast<size_t>(elements));
      for (size_t i = 0; i < values.size(); ++i) values[i] = std::sin(static_cast<float>(i + 100 * tensors_.size()));
      CHECK(devices::from_float(e.type, values.data(), elements / e.ne[0], e.ne[0], nullptr, memory_.data() + at).ok());
      at += t.nbytes;
      tensors_.push_back(t);
    }
    CHECK(at < memory_.size());
    gguf::build_index(&tensor_index_, tensors_.size(), [&](size_t i) { return std::string_view(tensors_[i].name); });
    id_ = "memory";
  }
  Status check_unchanged() const override { return ok_status(); }
  void remember(int64_t) const override {}

 private:
  std::vector<uint8_t> memory_;
};

/// A program that reads one weight slot of [k, n], joined from `keys`.
std::shared_ptr<const Graph> ir_graph(const std::vector<std::string>& keys, int64_t k, int64_t n,
                                      fb::WeightUsage usage = fb::WeightUsage_MatMul, uint8_t type = 255,
                                      uint8_t cast = 255) {
  Maker m;
  const uint32_t shape = m.shape({k, n, 1, 1});
  std::vector<flatbuffers::Offset<fb::WeightPart>> parts;
  for (const std::string& key : keys) {
    std::vector<flatbuffers::Offset<flatbuffers::String>> names{m.b.CreateString(key)};
    parts.push_back(fb::CreateWeightPart(m.b, m.b.CreateVector(names)));
  }
  m.weights.push_back(
      fb::CreateWeightSlot(m.b, m.b.CreateString("w"), m.b.CreateVector(parts), shape, type, cast, usage));
  const uint32_t x = m.input_leaf(m.input("x", F32, {1, k}), GGML_TYPE_F32, m.shape({k, 1, 1, 1}));
  const uint32_t w = m.weight_leaf(0, cast != 255 ? cast : type, shape);
  const uint32_t y = m.n(fb::CreateMulMat(m.b), {w, x}, GGML_TYPE_F32, m.shape({n, 1, 1, 1}));
  m.output(y, {1, n});
  const auto made = parse(m.finish());
  CHECK(made.ok());
  if (!made.ok()) std::fprintf(stderr, "%s\n", made.status().message.c_str());
  return made.ok() ? *made : nullptr;
}

/// The only slot of the program bound to the files; nothing when there are problems, which go to *report.
std::vector<BoundSlot> bind_slot(const std::shared_ptr<const Graph>& p,
                                 const std::shared_ptr<const gguf::FileSet>& files, weights::Report* report) {
  weights::Sources sources;
  sources.files = files;
  auto slots = weights::bind_weights(*p, sources, true, report);
  report->finish();
  CHECK(slots.ok());
  return slots.ok() ? slots.take() : std::vector<BoundSlot>();
}

bool problem(const std::shared_ptr<const Graph>& p, const std::shared_ptr<const gguf::FileSet>& files,
             Problem::Kind kind, const char* word) {
  weights::Report report;
  const bool none = bind_slot(p, files, &report).empty();
  return none && report.problems.size() == 1 && report.problems[0].kind == kind &&
         report.problems[0].message.find(word) != std::string::npos && report.status("here").code == ETGGML_BIND;
}

void test_problems() {
  const auto files =
      std::make_shared<MemoryFiles>(std::vector<MemoryFiles::Entry>{{"blk.0.q", GGML_TYPE_Q8_0, {64, 32, 1, 1}},
                                                                    {"blk.0.k", GGML_TYPE_F32, {64, 8, 1, 1}},
                                                                    {"blk.0.t", GGML_TYPE_F32, {8, 64, 1, 1}}});
  CHECK(problem(ir_graph({"blk.0.Q"}, 64, 32), files, Problem::Kind::Missing, "nearest names: 'blk.0.q'"));
  CHECK(problem(ir_graph({"blk.0.q"}, 64, 33), files, Problem::Kind::Shape, "[64, 33]"));
  CHECK(problem(ir_graph({"blk.0.t"}, 64, 8), files, Problem::Kind::Shape, "transposed"));
  CHECK(
      problem(ir_graph({"blk.0.q"}, 64, 32, fb::WeightUsage_MatMul, GGML_TYPE_F32), files, Problem::Kind::Type, "f32"));
  CHECK(problem(ir_graph({"blk.0.q", "blk.0.k"}, 64, 41), files, Problem::Kind::Shape, "40 rows together"));
  CHECK(problem(ir_graph({"blk.0.q", "blk.0.t"}, 64, 40), files, Problem::Kind::Shape, "blk.0.t"));
  weights::Report none;
  CHECK(bind_slot(ir_graph({"blk.0.q"}, 64, 32), nullptr, &none).empty() && none.problems.size() == 1);
  CHECK(none.problems[0].message.find("was not found in any file") != std::string::npos);
}

/// Places the slot and returns its contents as F32.
std::vector<float> contents(weights::WeightStore& store, const BoundSlot& slot, size_t* private_bytes,
                            const void** address) {
  const auto storage = store.place(slot, private_bytes);
  CHECK(storage.ok());
  if (!storage.ok()) return {};
  *address = storage->address;
  std::vector<float> out(static_cast<size_t>(slot.ne[0] * slot.ne[1] * slot.ne[2] * slot.ne[3]));
  CHECK(devices::to_float(slot.type, storage->address, static_cast<int64_t>(out.size()), out.data()).ok());
  return out;
}

/// What the parts hold, one after the other.
std::vector<float> expected(const BoundSlot& slot) {
  std::vector<float> out;
  for (const weights::Part& part : slot.parts) {
    const size_t elements = part.nbytes / ggml_type_size(part.type) * static_cast<size_t>(ggml_blck_size(part.type));
    std::vector<float> values(elements);
    CHECK(devices::to_float(part.type, part.data, static_cast<int64_t>(elements), values.data()).ok());
    out.insert(out.end(), values.begin(), values.end());
  }
  return out;
}

void test_placing(const devices::Device& cpu) {
  const auto files =
      std::make_shared<MemoryFiles>(std::vector<MemoryFiles::Entry>{{"a", GGML_TYPE_Q8_0, {64, 32, 1, 1}},
                                                                    {"b", GGML_TYPE_Q8_0, {64, 16, 1, 1}},
                                                                    {"c", GGML_TYPE_F16, {64, 16, 1, 1}},
                                                                    {"odd", GGML_TYPE_F32, {64, 4, 1, 1}, 4}});
  struct Case {
    std::vector<std::string> keys;
    int64_t rows;
    fb::WeightUsage usage;
    uint8_t cast;
    ggml_type type;
    bool mapped;
  };
  const Case cases[] = {
      {{"a"}, 32, fb::WeightUsage_MatMul, 255, GGML_TYPE_Q8_0, true},
      {{"a", "b"}, 48, fb::WeightUsage_MatMul, 255, GGML_TYPE_Q8_0, true},   // neighbours in the file: one view
      {{"b", "a"}, 48, fb::WeightUsage_MatMul, 255, GGML_TYPE_Q8_0, false},  // the other way round: a copy
      {{"b", "c"}, 32, fb::WeightUsage_MatMul, 255, GGML_TYPE_F32, false},   // two types: the one that loses nothing
      {{"a"}, 32, fb::WeightUsage_MatMul, GGML_TYPE_F32, GGML_TYPE_F32, false},
      {{"c"}, 16, fb::WeightUsage_Elementwise, 255, GGML_TYPE_F32, false},  // element-wise kernels want F32
      {{"c"}, 16, fb::WeightUsage_Rows, 255, GGML_TYPE_F16, true},
      {{"odd"}, 4, fb::WeightUsage_MatMul, 255, GGML_TYPE_F32, false},  // ggml wants 32-byte alignment
  };
  weights::WeightStore store(cpu);
  for (const Case& c : cases) {
    weights::Report report;
    const std::vector<BoundSlot> slots = bind_slot(ir_graph(c.keys, 64, c.rows, c.usage, 255, c.cast), files, &report);
    CHECK(slots.size() == 1 && report.problems.empty());
    if (slots.size() != 1) continue;
    CHECK(slots[0].type == c.type);
    size_t bytes = 0, again_bytes = 0;
    const void *address = nullptr, *again = nullptr;
    const std::vector<float> got = contents(store, slots[0], &bytes, &address);
    CHECK(got == expected(slots[0]));
    CHECK(c.mapped ? bytes == 0 && address == slots[0].parts[0].data : bytes > 0);
    contents(store, slots[0], &again_bytes, &again);
    CHECK(again == address && again_bytes == bytes);  // made once
  }
}

/// Data by name, as a .pte holds it.
class Embedded final : public weights::NamedData {
 public:
  std::map<std::string, std::vector<float>> data;
  Status get(const std::string& key, weights::Blob* blob, bool* found) const override {
    const auto it = data.find(key);
    *found = it != data.end();
    if (*found) *blob = {it->second.data(), it->second.size() * sizeof(float), nullptr};
    return ok_status();
  }
};

void test_order_of_sources() {
  const auto p = ir_graph({"w"}, 8, 4, fb::WeightUsage_MatMul, GGML_TYPE_F32);
  const auto first = std::make_shared<MemoryFiles>(std::vector<MemoryFiles::Entry>{{"w", GGML_TYPE_F32, {8, 4, 1, 1}}});
  const auto last = std::make_shared<MemoryFiles>(std::vector<MemoryFiles::Entry>{{"w", GGML_TYPE_F32, {8, 4, 1, 1}}});
  Embedded embedded;
  embedded.data["w"].resize(32);
  auto data_with = [&](const weights::Sources& sources) -> const void* {
    weights::Report report;
    const auto slots = weights::bind_weights(*p, sources, true, &report);
    CHECK(slots.ok() && slots->size() == 1);
    return slots.ok() && slots->size() == 1 ? (*slots)[0].parts[0].data : nullptr;
  };
  CHECK(data_with({first, &embedded, {last}}) == first->tensors()[0].data);
  CHECK(data_with({nullptr, &embedded, {last}}) == embedded.data["w"].data());
  embedded.data.clear();
  CHECK(data_with({nullptr, &embedded, {last}}) == last->tensors()[0].data);
  embedded.data["w"].resize(31);  // one float short
  weights::Report report;
  const auto slots = weights::bind_weights(*p, {nullptr, &embedded, {}}, true, &report);
  CHECK(slots.ok() && slots->empty() && report.problems.size() == 1 && report.problems[0].kind == Problem::Kind::Shape);
}

}  // namespace

int main() {
  const auto cpu = devices::select_device("cpu");
  CHECK(cpu.ok());
  if (!cpu.ok()) return 1;
  CHECK(!devices::select_device("cuda:7").ok());
  test_problems();
  test_placing(*cpu);
  test_order_of_sources();
  return failures == 0 ? 0 : 1;
}
