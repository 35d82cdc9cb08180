// Payloads that break one rule each are refused, each with a message that names the place and the rule.
#include <cstring>
#include <functional>
#include <limits>

#include "ir_run.h"

using namespace irtest;

namespace {

/// A sound little graph to break: x [T, 8] (T 1..4), w [8, 3] and a state [8, 5]; the output is w * x.
struct Base {
  Maker m;
  uint32_t in, xs, ws, ys, ss, x, w, y, s;
  int64_t T;
  Base() {
    in = m.input("x", F32, {-1, 8});
    T = m.symbol_dim(m.symbol_from_dim("T", 1, 4, in, 0));
    xs = m.shape({8, T, 1, 1});
    ws = m.shape({8, 3, 1, 1});
    ys = m.shape({3, T, 1, 1});
    ss = m.shape({8, 5, 1, 1});
    x = m.input_leaf(in, GGML_TYPE_F32, xs);
    w = m.weight_leaf(m.weight_slot("w", ws), 255, ws);
    y = m.n(fb::CreateMulMat(m.b), {w, x}, GGML_TYPE_F32, ys);
    s = m.state_leaf(m.state_slot("cache", ss), GGML_TYPE_F32, ss);
    m.output(y, {T, 3});
  }
  uint32_t ints(std::vector<int32_t> values, const char* = "") {
    const uint32_t shape = m.shape({static_cast<int64_t>(values.size()), 1, 1, 1});
    return m.const_leaf(m.constant(shape, GGML_TYPE_I32, values), GGML_TYPE_I32, shape);
  }
};

int cases = 0;

/// Parsing (or, where only tensors tell, building at T = 2) fails with `code` and a message that contains `text`.
void refuse(const char* text, const std::function<void(Base&)>& change, etggml_status code = ETGGML_FORMAT) {
  ++cases;
  Base base;
  change(base);
  auto ir_graph = parse(base.m.finish());
  Status status = ir_graph.status();
  if (ir_graph.ok()) {
    Store store(**ir_graph);
    auto out = run(**ir_graph, store, {Arg::floats({2, 8}, noise(16, 1))});
    status = out.status();
  }
  if (status.code != code || status.message.find(text) == std::string::npos || status.message.rfind("test: ", 0) != 0) {
    ++failures;
    std::printf("expected %d \"%s\", got %d \"%s\"\n", code, text, status.code, status.message.c_str());
  }
}

using ll = long long;
constexpr int F = GGML_TYPE_F32;

void container() {
  Base good;
  const std::vector<uint8_t> bytes = good.m.finish();
  CHECK_OK(parse(bytes).status());
  CHECK(Graph::parse(nullptr, 100, "test", etggml::graph::field_checks()).status().code == ETGGML_INVALID_ARGUMENT);
  CHECK(parse({1, 2, 3}).status().code == ETGGML_FORMAT);
  CHECK(parse(std::vector<uint8_t>(64, 0)).status().message.find("identifier") != std::string::npos);
  for (size_t n = 16; n < bytes.size(); n += 7) {
    CHECK(parse({bytes.begin(), bytes.begin() + static_cast<long>(n)}).status().message.find("corrupt") !=
          std::string::npos);
  }
  Base other;
  CHECK(parse(other.m.finish("GGUF")).status().message.find("identifier") != std::string::npos);
}

void header() {
  refuse(
      "needs reader version", [](Base& b) { b.m.version = b.m.min_reader = etggml::ir::kReaderVersion + 1; },
      ETGGML_UNSUPPORTED);
  refuse("version 0", [](Base& b) { b.m.version = b.m.min_reader = 0; });
  refuse("version 0", [](Base& b) { b.m.version = 0; });
}

void dimensions() {
  refuse("shape 0: ne has 3 dimensions instead of 4", [](Base& b) {
    b.m.shapes[0] = fb::CreateShape(b.m.b, b.m.b.CreateVector(std::vector<int64_t>{1, 2, 3}));
  });
  refuse("shape 4: ne[1]: expression 9 of 1", [](Base& b) { b.m.shape({1, -10, 1, 1}); });
  refuse("shape 4: ne[1]: expression 9223372036854775807 of 1", [](Base& b) { b.m.shape({1, INT64_MIN, 1, 1}); });
  refuse("shape 4: ne[2] is never above 0", [](Base& b) { b.m.shape({1, 1, 0, 1}); });
  refuse("shape 4: ne at the symbols' lower bounds: dimension 0 is 0", [](Base& b) {
    b.m.shape({b.m.expr({{fb::ExprCode_Symbol, 0}, {fb::ExprCode_Const, 1}, {fb::ExprCode_Sub, 0}}), 1, 1, 1});
  });
  refuse("dimension 0 is 2147483648", [](Base& b) { b.m.shape({INT64_C(1) << 31, 1, 1, 1}); });
  refuse("more than 2147483647 rows", [](Base& b) { b.m.shape({1, 65536, 65536, 1}); });
  refuse("elements are more than the limit", [](Base& b) { b.m.shape({1 << 30, 1 << 10, 1, 1}); });
  auto expression = [](const char* text, Maker::Code code) { refuse(text, [code](Base& b) { b.m.expr(code); }); };
  expression("expression 1: is empty", {});
  expression("expression 1: operation 0: unknown code", {{static_cast<fb::ExprCode>(77), 0}});
  expression("expression 1: operation 0: no such symbol", {{fb::ExprCode_Symbol, 1}});
  expression("expression 1: operation 0: no such symbol", {{fb::ExprCode_Symbol, -1}});
  expression("expression 1: operation 1: the stack is empty", {{fb::ExprCode_Const, 1}, {fb::ExprCode_Add, 0}});
  expression("expression 1: leaves 2 numbers", {{fb::ExprCode_Const, 1}, {fb::ExprCode_Const, 1}});
  expression("operation 2: the divisor can be zero",
             {{fb::ExprCode_Const, 1}, {fb::ExprCode_Const, 0}, {fb::ExprCode_FloorDiv, 0}});
  expression("operation 4: the divisor can be zero", {{fb::ExprCode_Const, 8},
                                                      {fb::ExprCode_Symbol, 0},
                                                      {fb::ExprCode_Const, 1},
                                                      {fb::ExprCode_Sub, 0},
                                                      {fb::ExprCode_Mod, 0}});
  expression("the result can leave 64 bits",
             {{fb::ExprCode_Const, INT64_MAX}, {fb::ExprCode_Symbol, 0}, {fb::ExprCode_Mul, 0}});
  expression("the result can leave 64 bits",
             {{fb::ExprCode_Const, INT64_MIN}, {fb::ExprCode_Symbol, 0}, {fb::ExprCode_Sub, 0}});
  expression("has 300 operations", Maker::Code(300, fb::ExprOp(fb::ExprCode_Const, 1)));
  expression("the stack is deeper", Maker::Code(40, fb::ExprOp(fb::ExprCode_Const, 1)));
}

void symbols() {
  refuse("no outputs and changes no state", [](Base& b) { b.m.outputs.clear(); });
  refuse("bounds 5..4 are empty", [](Base& b) { b.m.symbol_from_dim("u", 5, 4, 0, 0); });
  refuse("needs an upper bound", [](Base& b) { b.m.symbol_from_dim("u", 1, INT64_MAX, 0, 0); });
  refuse("symbol 1 'u': source: input 3 of 1", [](Base& b) { b.m.symbol_from_dim("u", 1, 4, 3, 0); });
  refuse("input 'x' has no dimension 2", [](Base& b) { b.m.symbol_from_dim("u", 1, 4, 0, 2); });
  refuse("cannot be computed from dimension 1 of input 'x'", [](Base& b) { b.m.symbol_from_dim("u", 1, 4, 0, 1); });
  refuse("is not an int32 or int64 tensor", [](Base& b) { b.m.symbol_from_max("u", 1, 4, 0, 1, 1); });
  refuse("nothing binds it",
         [](Base& b) { b.m.symbols.push_back(fb::CreateSymbol(b.m.b, b.m.b.CreateString("u"), 1, 2)); });
  refuse("symbol 1: name is missing", [](Base& b) { b.m.symbols.push_back(fb::CreateSymbol(b.m.b, 0, 1, 2)); });
  refuse("round_to -1", [](Base& b) { b.m.symbol_from_max("u", 1, 4, b.m.input("p", I64, {4}), 1, -1); });
}

void tables() {
  refuse("input 1: dtype 9 is unknown", [](Base& b) { b.m.input("z", 9, {1}); });
  refuse("input 1: dims[0]: expression 4", [](Base& b) { b.m.input("z", F32, {-5}); });
  refuse("input 'z' at the symbols' lower bounds: its dimensions are empty", [](Base& b) {
    b.m.input("z", F32, {3, 0});
  });
  refuse("input 1: a scalar with dimensions", [](Base& b) { b.m.input("z", I64, {1}, fb::InputKind_Int); });
  refuse("output 1: value 99 of 4", [](Base& b) { b.m.output(99, {1}); });
  refuse("output 1: dtype 42", [](Base& b) { b.m.output(b.y, {b.T, 3}, 42); });
  refuse("output 1 at the symbols' lower bounds: its dims have 4 elements", [](Base& b) { b.m.output(b.y, {b.T, 4}); });
  refuse("weight 1 'v': shape 1000 of 4", [](Base& b) { b.m.weight_slot("v", 1000); });
  refuse("storage needs literal dimensions", [](Base& b) { b.m.weight_slot("v", b.xs); });
  refuse("weight 1 'v': ggml type 4 is unknown", [](Base& b) { b.m.weight_slot("v", b.ws, 4); });
  refuse("weight 1 'v': ggml type 200 is unknown", [](Base& b) { b.m.weight_slot("v", b.ws, 200); });
  refuse("rows of 8 elements are not whole q4_K blocks of 256",
         [](Base& b) { b.m.weight_slot("v", b.ws, GGML_TYPE_Q4_K); });
  refuse("part 0 has an empty key", [](Base& b) { b.m.weight_slot("", b.ws); });
  // Shared vectors make a small payload ask for endless verification: every part refers to the same 60,000 keys.
  refuse("more than the limit of", [](Base& b) {
    auto& fbb = b.m.b;
    const std::vector<flatbuffers::Offset<flatbuffers::String>> keys(60000, fbb.CreateString("k"));
    const auto shared = fbb.CreateVector(keys);
    const std::vector<flatbuffers::Offset<fb::WeightPart>> parts(60, fb::CreateWeightPart(fbb, shared));
    const auto all = fbb.CreateVector(parts);
    for (int i = 0; i < 60000; ++i) b.m.weights.push_back(fb::CreateWeightSlot(fbb, 0, all, b.ws));
  });
  refuse("weight 1: 65 parts", [](Base& b) {
    auto& fbb = b.m.b;
    const std::vector<flatbuffers::Offset<fb::WeightPart>> parts(65, fb::CreateWeightPart(fbb));
    b.m.weights.push_back(fb::CreateWeightSlot(fbb, 0, fbb.CreateVector(parts), b.ws));
  });
  refuse("part 0 has no keys", [](Base& b) {
    auto& fbb = b.m.b;
    const std::vector<flatbuffers::Offset<fb::WeightPart>> parts(1, fb::CreateWeightPart(fbb));
    b.m.weights.push_back(fb::CreateWeightSlot(fbb, fbb.CreateString("v"), fbb.CreateVector(parts), b.ws));
  });
  refuse("state 1 's2': ggml type 255", [](Base& b) { b.m.state_slot("s2", b.ss, 255); });
  refuse("constant 0: data has 4 bytes, its shape and type need 160",
         [](Base& b) { b.m.constant(b.ss, F, std::vector<float>{1}); });
  refuse("weight 1: name is 3000 bytes long", [](Base& b) { b.m.weight_slot(std::string(3000, 'k').c_str(), b.ws); });
  refuse("contains a NUL byte", [](Base& b) {
    b.m.inputs.push_back(
        fb::CreateInput(b.m.b, b.m.b.CreateString(std::string("a\0b", 3)), fb::InputKind_Tensor, F32, 0));
  });
}

void nodes() {
  refuse("nodes: there are none", [](Base& b) { b.m.nodes.clear(); });
  refuse("node 4: op code 0", [](Base& b) { b.m.node(fb::Op_NONE, 0, {}, F, 0); });
  refuse("node 4: op code 200",
         [](Base& b) { b.m.node(static_cast<fb::Op>(200), fb::CreateSum(b.m.b).Union(), {}, F, 0); });
  refuse("node 4 (Cont): src has 0 values, expected 1..1", [](Base& b) { b.m.n(fb::CreateCont(b.m.b), {}, F, 0); });
  refuse("src has 4 values, expected 2..3", [](Base& b) { b.m.n(fb::CreateMulMat(b.m.b), {0, 0, 0, 0}, F, 0); });
  refuse("activation 7 is unknown", [](Base& b) {
    b.m.n(fb::CreateMulMat(b.m.b, fb::CreateEpilogue(b.m.b, static_cast<fb::Activation>(7))), {0, 0}, F, 0);
  });
  refuse("clamp to nan..1", [](Base& b) {
    b.m.n(fb::CreateMulMat(b.m.b, fb::CreateEpilogue(b.m.b, fb::Activation_None, NAN, 1.0f)), {0, 0}, F, 0);
  });
  refuse("clamp to 2..1", [](Base& b) {
    const auto then = fb::CreateEpilogue(b.m.b, fb::Activation_None, 2.0f, 1.0f);
    b.m.n(fb::CreateConv2d(b.m.b, 1, 1, 0, 0, 1, 1, then), {0, 0}, F, 0);
  });
  refuse("a stride, dilation or padding is out of range", [](Base& b) {
    b.m.n(fb::CreateConv2d(b.m.b, 0), {0, 0}, F, 0);
  });
  refuse("node 4 (Cont): src[0] is 4, not a node before", [](Base& b) { b.m.n(fb::CreateCont(b.m.b), {4}, F, 0); });
  refuse("src[0] is 4294967295", [](Base& b) { b.m.n(fb::CreateCont(b.m.b), {0xffffffffu}, F, 0); });
  refuse("node 4 (Cont): shape 77 of 4", [](Base& b) { b.m.n(fb::CreateCont(b.m.b), {0}, F, 77); });
  refuse("node 4 (Cont): type 31 is unknown", [](Base& b) { b.m.n(fb::CreateCont(b.m.b), {0}, 31, 0); });
  refuse("node 4 (InputLeaf): input 5 of 1", [](Base& b) { b.m.input_leaf(5, F, 0); });
  refuse("an input of type float32 cannot become i32", [](Base& b) { b.m.input_leaf(0, GGML_TYPE_I32, 0); });
  refuse("cannot become f16 as a mask", [](Base& b) { b.m.input_leaf(0, GGML_TYPE_F16, 0, true); });
  refuse("the input has 8 elements, shape has 3", [](Base& b) { b.m.input_leaf(0, F, b.ys); });
  refuse("node 4 (WeightLeaf): slot 9 of 1 weights", [](Base& b) { b.m.weight_leaf(9, 255, b.ws); });
  refuse("shape differs from its slot's", [](Base& b) { b.m.weight_leaf(0, 255, b.ss); });
  refuse("type 0, the slot holds 255", [](Base& b) { b.m.weight_leaf(0, F, b.ws); });
  refuse("slot 1 of 1 states", [](Base& b) { b.m.state_leaf(1, F, b.ss); });
  refuse("constant 0 of 0", [](Base& b) { b.m.const_leaf(0, F, b.ss); });
  refuse("src[0] must be an InputLeaf of an int32 or int64 tensor",
         [](Base& b) { b.m.n(fb::CreateCausalMask(b.m.b), {b.x}, GGML_TYPE_F16, b.xs); });
  refuse("shape must be [n_kv, 4, 1, 1]", [](Base& b) {
    const uint32_t p = b.m.input_leaf(b.m.input("p", I64, {4}), GGML_TYPE_I32, b.m.shape({4, 1, 1, 1}));
    b.m.n(fb::CreateCausalMask(b.m.b), {p}, GGML_TYPE_F16, b.ws);
  });
  refuse("kind 99 is unknown",
         [](Base& b) { b.m.n(fb::CreateUnary(b.m.b, static_cast<fb::UnaryKind>(99)), {b.x}, F, b.xs); });
  refuse("kind -1 is unknown", [](Base& b) {
    b.m.n(fb::CreateBinary(b.m.b, static_cast<fb::BinaryKind>(-1)), {b.x, b.x}, F, b.xs);
  });
  refuse("eps -1 is negative", [](Base& b) { b.m.n(fb::CreateRmsNorm(b.m.b, -1.0f), {b.x}, F, b.xs); });
  refuse("eps nan",
         [](Base& b) { b.m.n(fb::CreateNorm(b.m.b, std::numeric_limits<float>::quiet_NaN()), {b.x}, F, b.xs); });
  refuse("axes is not a permutation", [](Base& b) { b.m.permute(b.x, F, b.xs, {0, 1, 1, 3}); });
  refuse("axes is not a permutation", [](Base& b) { b.m.permute(b.x, F, b.xs, {0, 1, 2}); });
  refuse("axes is not a permutation", [](Base& b) { b.m.permute(b.x, F, b.xs, {0, 1, 2, 9}); });
  refuse("shape is not the permuted shape", [](Base& b) { b.m.permute(b.w, 255, b.ws, {1, 0, 2, 3}); });
  refuse("strides has 3 entries", [](Base& b) { b.m.view(b.w, 255, b.ws, {1, 8, 24}, 0); });
  refuse("strides[0] is 2; it must be 1", [](Base& b) {
    b.m.view(b.w, 255, b.m.shape({4, 1, 1, 1}), {2, 8, 8, 8}, 0);
  });
  refuse("the view leaves its source: offset 1", [](Base& b) { b.m.view(b.w, 255, b.ws, {1, 8, 24, 24}, 1); });
  refuse("the view leaves its source", [](Base& b) { b.m.view(b.w, 255, b.ws, {1, INT64_MAX, 24, 24}, 0); });
  refuse("strides[1]: expression 8", [](Base& b) { b.m.view(b.w, 255, b.ws, {1, -9, 24, 24}, 0); });
  refuse("more elements than its memory", [](Base& b) {
    b.m.view(b.w, 255, b.m.shape({8, 9, 1, 1}), {1, 0, 0, 0}, 0);
  });
  refuse("24 elements reshaped to 40", [](Base& b) { b.m.n(fb::CreateReshape(b.m.b), {b.w}, 255, b.ss); });
  refuse("its source is not contiguous", [](Base& b) {
    const uint32_t t = b.m.permute(b.w, 255, b.m.shape({3, 8, 1, 1}), {1, 0, 2, 3});
    b.m.n(fb::CreateReshape(b.m.b), {t}, 255, b.m.shape({24, 1, 1, 1}));
  });
  refuse("the destination node 1 (WeightLeaf weight 'w'), is not (a view of) a state", [](Base& b) {
    b.m.n(fb::CreateSetRows(b.m.b), {b.w, b.x, b.ints({0, 1})}, F, b.ws);
  });
  refuse("the destination node 0", [](Base& b) { b.m.n(fb::CreateCpy(b.m.b), {b.x, b.x}, F, b.xs); });
  refuse("dim 4 is outside", [](Base& b) { b.m.n(fb::CreateConcat(b.m.b, 4), {b.x, b.x}, F, b.xs); });
  refuse("before and after need 4", [](Base& b) { b.m.n(fb::CreatePad(b.m.b), {b.x}, F, b.xs); });
  refuse("k 0 is below 1", [](Base& b) { b.m.n(fb::CreateTopK(b.m.b, 0), {b.x}, GGML_TYPE_I32, b.xs); });
  refuse("n_dims 3 is not an even number", [](Base& b) { b.m.n(fb::CreateRope(b.m.b, 3), {b.x, b.x}, F, b.xs); });
  refuse("n_dims 0 is not an even number", [](Base& b) { b.m.n(fb::CreateRope(b.m.b, 0), {b.x, b.x}, F, b.xs); });
  refuse("mode 1 is unknown", [](Base& b) {
    b.m.n(fb::CreateRope(b.m.b, 4, static_cast<fb::RopeMode>(1)), {b.x, b.x}, F, b.xs);
  });
  refuse("a stride, dilation or padding", [](Base& b) {
    b.m.n(fb::CreateConv2dDw(b.m.b, 0, 1, 0, 0, 1, 1), {b.x, b.x}, F, b.xs);
  });
  refuse("a kernel size, stride",
         [](Base& b) { b.m.n(fb::CreatePool2d(b.m.b, fb::PoolKind_Avg, 0, 2, 1, 1), {b.x}, F, b.xs); });
}

void indices() {
  auto rows = [](Base& b, uint32_t ids) {
    b.m.output(b.m.n(fb::CreateGetRows(b.m.b), {b.w, ids}, F, b.m.shape({8, 2, 1, 1})), {2, 8});
  };
  refuse("holds -1, but its values are used as row numbers", [&](Base& b) { rows(b, b.ints({0, -1})); });
  refuse("its values go up to 3, but they index a table of 3 rows", [&](Base& b) { rows(b, b.ints({3, 0})); });
  // Computed in F32: -1 for the limits stands for no clamp at all.
  auto computed = [&](Base& b, float min, float max) {
    const uint32_t pair = b.m.shape({2, 1, 1, 1});
    uint32_t f = b.m.const_leaf(b.m.constant(pair, F, std::vector<float>{0, 1}), F, pair);
    if (max >= 0) f = b.m.n(fb::CreateClamp(b.m.b, min, max), {f}, F, pair);
    rows(b, b.m.n(fb::CreateCast(b.m.b), {f}, GGML_TYPE_I32, pair));
  };
  refuse("no clamp bounds them", [&](Base& b) { computed(b, -1, -1); });
  refuse("but clamped to -1..2", [&](Base& b) { computed(b, -1, 2); });
  refuse("but clamped to 0..1.67772e+07", [&](Base& b) { computed(b, 0, 16777216.0f); });
  refuse("min nan is not below max 2", [&](Base& b) { computed(b, NAN, 2); });
  refuse("its values go up to 3, but they index a table of 3 rows", [&](Base& b) { computed(b, 0, 3); });
  refuse("nothing bounds them", [&](Base& b) {
    const uint32_t pair = b.m.shape({2, 1, 1, 1});
    rows(b, b.m.state_leaf(b.m.state_slot("ids", pair, GGML_TYPE_I32), GGML_TYPE_I32, pair));
  });
  refuse("src[1] must hold integers", [&](Base& b) { rows(b, b.x); });
  refuse("(Argsort): its values go up to 7, but they index a table of 3 rows", [&](Base& b) {
    const uint32_t sorted = b.m.n(fb::CreateArgsort(b.m.b), {b.s}, GGML_TYPE_I32, b.ss);
    rows(b, b.m.view(sorted, GGML_TYPE_I32, b.m.shape({2, 1, 1, 1}), {1, 8, 8, 8}, 0));
  });
}

/// What only the tensors tell: refused by build(), never by ggml's asserts.
void builders() {
  auto live = [](Base& b, uint32_t v, std::vector<int64_t> dims) { b.m.output(v, std::move(dims)); };
  refuse("cannot multiply", [&](Base& b) {
    live(b, b.m.n(fb::CreateMulMat(b.m.b), {b.y, b.x}, F, b.m.shape({b.T, b.T, 1, 1})), {b.T, b.T});
  });
  refuse("shape says [3, 2, 1, 1], its sources give [8, 2, 1, 1]", [&](Base& b) {
    live(b, b.m.n(fb::CreateUnary(b.m.b), {b.x}, F, b.ys), {b.T, 3});
  });
  refuse("type is declared f16, the result is f32", [&](Base& b) {
    live(b, b.m.n(fb::CreateUnary(b.m.b), {b.x}, GGML_TYPE_F16, b.xs), {b.T, 8});
  });
  refuse("does not repeat into", [&](Base& b) {
    live(b, b.m.n(fb::CreateBinary(b.m.b), {b.y, b.x}, F, b.ys), {b.T, 3});
  });
  refuse("is i32: expected f32", [&](Base& b) {
    live(b, b.m.n(fb::CreateSoftMax(b.m.b), {b.ints({1, 2})}, F, b.m.shape({2, 1, 1, 1})), {2});
  });
  refuse("rows of 3 elements have no halves", [&](Base& b) {
    live(b, b.m.n(fb::CreateGlu(b.m.b, fb::GluKind_Swiglu), {b.y}, F, b.m.shape({1, b.T, 1, 1})), {b.T, 1});
  });
  refuse("cannot be joined", [&](Base& b) {
    live(b, b.m.n(fb::CreateConcat(b.m.b, 1), {b.x, b.y}, F, b.xs), {b.T, 8});
  });
  refuse("groups 3 does not divide 1 channels", [&](Base& b) {
    live(b, b.m.n(fb::CreateGroupNorm(b.m.b, 3, 1e-5f), {b.x}, F, b.xs), {b.T, 8});
  });
  refuse("k 9 of rows of 8", [&](Base& b) {
    live(b, b.m.n(fb::CreateTopK(b.m.b, 9), {b.x}, GGML_TYPE_I32, b.m.shape({9, b.T, 1, 1})), {b.T, 9});
  });
  refuse("max_bias needs a mask", [&](Base& b) {
    live(b, b.m.n(fb::CreateSoftMax(b.m.b, 1.0f, 2.0f), {b.x}, F, b.xs), {b.T, 8});
  });
  refuse("the rows of src[0] are not contiguous", [&](Base& b) {
    const uint32_t t = b.m.permute(b.x, F, b.m.shape({b.T, 8, 1, 1}), {1, 0, 2, 3});
    live(b, b.m.n(fb::CreateRmsNorm(b.m.b, 0.0f), {t}, F, b.m.shape({b.T, 8, 1, 1})), {8, b.T});
  });
  refuse("a kernel of shape [8, 1, 2, 1] over an image of shape [3, 2, 1, 1]", [&](Base& b) {
    const uint32_t kernel = b.m.n(fb::CreateFill(b.m.b, 1.0f), {}, F, b.m.shape({8, 1, 2, 1}));
    live(b, b.m.n(fb::CreateConv2d(b.m.b), {kernel, b.y}, F, b.ys), {b.T, 3});
  });
  refuse("patches of shape [3000000000, 10002, 30002, 1]: dimension 0", [&](Base& b) {
    // A kernel and an image that are allowed, patches that are not.
    const uint32_t kernel = b.m.n(fb::CreateFill(b.m.b, 1.0f), {}, F, b.m.shape({30000, 10000, 10, 1}));
    const uint32_t image = b.m.n(fb::CreateFill(b.m.b, 1.0f), {}, F, b.m.shape({1, 1, 10, 1}));
    const uint32_t y =
        b.m.n(fb::CreateConv2d(b.m.b, 1, 1, 20000, 20000), {kernel, image}, F, b.m.shape({10002, 30002, 1, 1}));
    live(b, y, {1, 1, 30002, 10002});
  });
  refuse("a bias of shape [2, 1, 1, 1] for 3 results", [&](Base& b) {
    const uint32_t bias = b.m.n(fb::CreateFill(b.m.b, 1.0f), {}, F, b.m.shape({2, 1, 1, 1}));
    const uint32_t w = b.m.n(fb::CreateFill(b.m.b, 1.0f), {}, F, b.m.shape({8, 3, 1, 1}));
    live(b, b.m.n(fb::CreateMulMat(b.m.b), {w, b.x, bias}, F, b.ys), {b.T, 3});
  });
  refuse("the image is smaller than the window", [&](Base& b) {
    live(b, b.m.n(fb::CreatePool2d(b.m.b, fb::PoolKind_Max, 64, 64, 1, 1), {b.x}, F, b.xs), {b.T, 8});
  });
  refuse("q [8, 2, 1, 1], k [3, 2, 1, 1]", [&](Base& b) {
    live(b, b.m.n(fb::CreateFlashAttn(b.m.b, 1.0f), {b.x, b.y, b.x}, F, b.xs), {b.T, 8});
  });
  refuse("do not fit a destination", [&](Base& b) {
    b.m.n(fb::CreateSetRows(b.m.b), {b.s, b.x, b.ints({0, 1, 2})}, F, b.ss);
  });
  refuse("10 elements copied over 40", [&](Base& b) {
    const uint32_t ten = b.m.shape({10, 1, 1, 1});
    b.m.n(fb::CreateCpy(b.m.b), {b.m.n(fb::CreateFill(b.m.b, 1.0f), {}, F, ten), b.s}, F, b.ss);
  });
  refuse("it cannot be copied to f16", [&](Base& b) {
    live(b, b.m.n(fb::CreateCast(b.m.b), {b.ints({1, 2})}, GGML_TYPE_F16, b.m.shape({2, 1, 1, 1})), {2});
  });
}

}  // namespace

int main() {
  const struct {
    const char* name;
    void (*run)();
  } groups[] = {{"container", container}, {"header", header}, {"dimensions", dimensions}, {"symbols", symbols},
                {"tables", tables},       {"nodes", nodes},   {"indices", indices},       {"builders", builders}};
  for (const auto& group : groups) {
    current = group.name;
    group.run();
  }
  std::printf("%d cases, %d failures\n", cases, failures);
  return failures != 0;
}
