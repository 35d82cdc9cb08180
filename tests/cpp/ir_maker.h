// Builds GGIR payloads by hand, right or wrong: what the IR tests share. See ir_run.h for running them.
#pragma once

#include <cstdio>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "flatbuffers/flatbuffers.h"
#include "ggml.h"
#include "graph/op_row.h"
#include "ir/graph.h"

namespace irtest {

namespace fb = ::executorch_ggml::ggml_ir;
using etggml::Result;
using etggml::Status;
using etggml::ir::Graph;
using etggml::ir::InputView;

inline int failures = 0;
inline const char* current = "";

#define CHECK(condition)                                                               \
  do {                                                                                 \
    if (!(condition)) {                                                                \
      ++irtest::failures;                                                              \
      std::printf("%s: %s:%d: %s\n", irtest::current, __FILE__, __LINE__, #condition); \
    }                                                                                  \
  } while (0)

inline void check_ok(const Status& status, const char* file, int line) {
  if (status.ok()) return;
  ++failures;
  std::printf("%s: %s:%d: %s\n", current, file, line, status.message.c_str());
}
#define CHECK_OK(expr) irtest::check_ok((expr), __FILE__, __LINE__)

/// Torch ScalarType numbers.
enum Dtype : int8_t { I8 = 1, I32 = 3, I64 = 4, F16 = 5, F32 = 6, F64 = 7, BOOL = 11, BF16 = 15 };

/// A payload under construction. Index-returning methods append; anything may be broken on purpose before finish().
struct Maker {
  flatbuffers::FlatBufferBuilder b;
  std::vector<flatbuffers::Offset<fb::Symbol>> symbols;
  std::vector<flatbuffers::Offset<fb::Expr>> exprs;
  std::vector<flatbuffers::Offset<fb::Shape>> shapes;
  std::vector<flatbuffers::Offset<fb::Input>> inputs;
  std::vector<flatbuffers::Offset<fb::Output>> outputs;
  std::vector<flatbuffers::Offset<fb::WeightSlot>> weights;
  std::vector<flatbuffers::Offset<fb::StateSlot>> states;
  std::vector<flatbuffers::Offset<fb::Constant>> constants;
  std::vector<flatbuffers::Offset<fb::Node>> nodes;
  uint32_t version = 1, min_reader = 1;

  using Code = std::vector<fb::ExprOp>;

  /// A Dim that refers to a new expression.
  int64_t expr(const Code& code) {
    exprs.push_back(fb::CreateExpr(b, b.CreateVectorOfStructs(code)));
    return -static_cast<int64_t>(exprs.size());
  }
  int64_t symbol_dim(uint32_t s) { return expr({{fb::ExprCode_Symbol, s}}); }

  uint32_t shape(std::vector<int64_t> ne) {
    shapes.push_back(fb::CreateShape(b, b.CreateVector(ne)));
    return static_cast<uint32_t>(shapes.size() - 1);
  }
  uint32_t symbol_from_dim(const char* name, int64_t min, int64_t max, uint32_t input, uint32_t dim) {
    auto source = fb::CreateFromInputDim(b, input, dim).Union();
    symbols.push_back(fb::CreateSymbol(b, b.CreateString(name), min, max, fb::SymbolSource_FromInputDim, source));
    return static_cast<uint32_t>(symbols.size() - 1);
  }
  uint32_t symbol_from_max(const char* name, int64_t min, int64_t max, uint32_t input, int64_t add, int64_t round_to) {
    auto source = fb::CreateFromInputMax(b, input, add, round_to).Union();
    symbols.push_back(fb::CreateSymbol(b, b.CreateString(name), min, max, fb::SymbolSource_FromInputMax, source));
    return static_cast<uint32_t>(symbols.size() - 1);
  }
  uint32_t input(const char* name, int8_t dtype, std::vector<int64_t> dims, fb::InputKind kind = fb::InputKind_Tensor) {
    inputs.push_back(fb::CreateInput(b, b.CreateString(name), kind, dtype, b.CreateVector(dims)));
    return static_cast<uint32_t>(inputs.size() - 1);
  }
  void output(uint32_t value, std::vector<int64_t> dims, int8_t dtype = F32) {
    outputs.push_back(fb::CreateOutput(b, b.CreateString("out"), value, dtype, b.CreateVector(dims)));
  }
  uint32_t weight_slot(const char* key, uint32_t shape, uint8_t type = 255) {
    std::vector<flatbuffers::Offset<flatbuffers::String>> keys{b.CreateString(key)};
    std::vector<flatbuffers::Offset<fb::WeightPart>> parts{fb::CreateWeightPart(b, b.CreateVector(keys))};
    weights.push_back(fb::CreateWeightSlot(b, b.CreateString(key), b.CreateVector(parts), shape, type));
    return static_cast<uint32_t>(weights.size() - 1);
  }
  uint32_t state_slot(const char* name, uint32_t shape, uint8_t type = GGML_TYPE_F32,
                      fb::StateKind kind = fb::StateKind_Generic) {
    states.push_back(fb::CreateStateSlot(b, b.CreateString(name), shape, type, kind, b.CreateString("")));
    return static_cast<uint32_t>(states.size() - 1);
  }
  template <class T>
  uint32_t constant(uint32_t shape, uint8_t type, const std::vector<T>& data) {
    auto bytes = b.CreateVector(reinterpret_cast<const uint8_t*>(data.data()), data.size() * sizeof(T));
    constants.push_back(fb::CreateConstant(b, shape, type, bytes));
    return static_cast<uint32_t>(constants.size() - 1);
  }

  uint32_t node(fb::Op op, flatbuffers::Offset<void> table, std::vector<uint32_t> src, int type, uint32_t shape) {
    auto sources = b.CreateVector(src);
    nodes.push_back(fb::CreateNode(b, op, table, sources, static_cast<uint8_t>(type), shape));
    return static_cast<uint32_t>(nodes.size() - 1);
  }
  /// A node whose op table is T: n<fb::RmsNorm>(fb::CreateRmsNorm(m.b, eps), {x}, type, shape).
  template <class T>
  uint32_t n(flatbuffers::Offset<T> table, std::vector<uint32_t> src, int type, uint32_t shape) {
    return node(fb::OpTraits<T>::enum_value, table.Union(), std::move(src), type, shape);
  }
  uint32_t input_leaf(uint32_t input, int type, uint32_t shape, bool mask = false) {
    return n(fb::CreateInputLeaf(b, input, mask), {}, type, shape);
  }
  uint32_t weight_leaf(uint32_t slot, int type, uint32_t shape) {
    return n(fb::CreateWeightLeaf(b, slot), {}, type, shape);
  }
  uint32_t state_leaf(uint32_t slot, int type, uint32_t shape) {
    return n(fb::CreateStateLeaf(b, slot), {}, type, shape);
  }
  uint32_t const_leaf(uint32_t c, int type, uint32_t shape) { return n(fb::CreateConstLeaf(b, c), {}, type, shape); }
  uint32_t view(uint32_t src, int type, uint32_t shape, std::vector<int64_t> strides, int64_t offset) {
    return n(fb::CreateView(b, b.CreateVector(strides), offset), {src}, type, shape);
  }
  uint32_t permute(uint32_t src, int type, uint32_t shape, std::vector<uint8_t> axes) {
    return n(fb::CreatePermute(b, b.CreateVector(axes)), {src}, type, shape);
  }

  std::vector<uint8_t> finish(const char* identifier = "GGIR") {
    auto producer = b.CreateString("test");
    auto graph = fb::CreateGraph(b, version, min_reader, producer, b.CreateVector(symbols), b.CreateVector(exprs),
                                 b.CreateVector(shapes), b.CreateVector(inputs), b.CreateVector(outputs),
                                 b.CreateVector(weights), b.CreateVector(states), b.CreateVector(constants),
                                 b.CreateVector(nodes));
    b.Finish(graph, identifier);
    return {b.GetBufferPointer(), b.GetBufferPointer() + b.GetSize()};
  }
};

inline Result<std::shared_ptr<const Graph>> parse(const std::vector<uint8_t>& bytes) {
  return Graph::parse(bytes.data(), bytes.size(), "test", etggml::graph::field_checks());
}

}  // namespace irtest
