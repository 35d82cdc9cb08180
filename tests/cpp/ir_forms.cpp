// Graphs in the forms that a CUDA device gets, run on the CPU: every node is one that ggml-cuda takes, and the numbers
// are those of the nodes as they stand.
#include <functional>
#include <string_view>

#include "device_rules/cuda_answers.h"
#include "device_rules/gpu_rules.h"
#include "ir_run.h"

using namespace irtest;

namespace {

struct Cuda final : etggml::graph::DeviceProbe {
  bool supports(const ggml_tensor* node) const override {
    return etggml::graph::gpu_kernel_takes(node) && etggml::graph::cuda_supports(node);
  }
};

const Cuda cuda;

/// A program of the inputs that were added.
struct Case {
  Maker m;
  std::vector<Arg> args;
  std::vector<std::pair<std::string, ggml_type>> weights;

  uint32_t input(std::vector<int64_t> ne, uint32_t seed) {
    std::vector<int64_t> dims(ne.rbegin(), ne.rend());
    int64_t n = 1;
    for (int64_t d : ne) n *= d;
    args.push_back(Arg::floats(dims, noise(static_cast<size_t>(n), seed)));
    const auto index = m.input(("x" + std::to_string(args.size())).c_str(), F32, dims);
    return m.input_leaf(index, GGML_TYPE_F32, m.shape(ne));
  }
  uint32_t cast(uint32_t x, int type, std::vector<int64_t> ne) {
    return type == GGML_TYPE_F32 ? x : m.n(fb::CreateCast(m.b), {x}, type, m.shape(ne));
  }
  uint32_t weight(const char* name, ggml_type type, std::vector<int64_t> ne) {
    weights.emplace_back(name, type);
    const uint32_t shape = m.shape(ne);
    return m.weight_leaf(m.weight_slot(name, shape), 255, shape);
  }
};

int unsupported_nodes(const Graph& ir_graph, Store& store, const etggml::graph::BuildOptions& options) {
  auto built = etggml::graph::build(ir_graph, ir_graph.lower_bounds(), store, options);
  CHECK_OK(built.status());
  if (!built.ok()) return -1;
  int count = 0;
  for (int i = 0; i < ggml_graph_n_nodes(built->graph); ++i) {
    const ggml_tensor* node = ggml_graph_node(built->graph, i);
    if (node->op == GGML_OP_NONE || options.device->supports(node)) continue;
    std::printf("%s: node %s is not for CUDA\n", current, ggml_op_desc(node));
    ++count;
  }
  return count;
}

/// `value`, of shape `ne`, in both forms. `changes`: the form must differ from what the CPU gets, but for `more` nodes.
void same(const char* name, Case& c, uint32_t value, std::vector<int64_t> ne, double bound, bool changes = true,
          int8_t dtype = F32, int more = 0) {
  current = name;
  c.m.output(value, std::vector<int64_t>(ne.rbegin(), ne.rend()), dtype);
  auto ir_graph = parse(c.m.finish());
  CHECK_OK(ir_graph.status());
  if (!ir_graph.ok()) return;
  auto prepare = [&](Store& store) {
    uint32_t seed = 100;
    for (const auto& w : c.weights) store.set_weight(w.first, w.second, noise(4096, seed++));
  };
  etggml::graph::BuildOptions options;
  options.device = &cuda;
  Store plain(**ir_graph), other(**ir_graph);
  prepare(plain), prepare(other);
  auto want = run(**ir_graph, plain, c.args);
  CHECK_OK(want.status());
  if (!want.ok()) return;
  CHECK(unsupported_nodes(**ir_graph, other, options) == 0);
  auto got = run(**ir_graph, other, c.args, options);
  CHECK_OK(got.status());
  if (!got.ok()) return;
  CHECK((got->nodes != want->nodes + more) == changes);
  const double e = nmse(got->values[0], want->values[0]);
  if (!(e <= bound)) std::printf("%s: nmse %g\n", name, e);
  CHECK(e <= bound);
}

struct Attention {
  ggml_type type = GGML_TYPE_F32;
  bool mask = true, sinks = false;
  float max_bias = 0, softcap = 0;
  int64_t d = 32, dv = 32, t = 5, s = 9, heads = 6, kv = 2, batch = 2;
};

void attention(const char* name, const Attention& o, double bound, bool changes = true) {
  Case c;
  auto head = [&](int64_t rows, int64_t d, int64_t heads, ggml_type type, uint32_t seed) {
    const std::vector<int64_t> ne{d, rows, heads, o.batch};
    return c.cast(c.input(ne, seed), type, ne);
  };
  const uint32_t q = head(o.t, o.d, o.heads, GGML_TYPE_F32, 1);
  const uint32_t k = head(o.s, o.d, o.kv, o.type, 2), v = head(o.s, o.dv, o.kv, o.type, 3);
  std::vector<uint32_t> src{q, k, v};
  if (o.mask) {
    // Causal, and one query that sees nothing.
    std::vector<ggml_fp16_t> mask;
    for (int64_t i = 0; i < o.t; ++i)
      for (int64_t j = 0; j < o.s; ++j) mask.push_back(ggml_fp32_to_fp16(i == 2 || j > i + 2 ? -INFINITY : 0.0f));
    const uint32_t shape = c.m.shape({o.s, o.t, 1, 1});
    src.push_back(c.m.const_leaf(c.m.constant(shape, GGML_TYPE_F16, mask), GGML_TYPE_F16, shape));
  }
  if (o.sinks) {
    const uint32_t shape = c.m.shape({o.heads, 1, 1, 1});
    const auto values = noise(static_cast<size_t>(o.heads), 4);
    src.push_back(c.m.const_leaf(c.m.constant(shape, GGML_TYPE_F32, values), GGML_TYPE_F32, shape));
  }
  const std::vector<int64_t> ne{o.dv, o.heads, o.t, o.batch};
  const float scale = 1.0f / std::sqrt(float(o.d));
  const uint32_t y = c.m.n(fb::CreateFlashAttn(c.m.b, scale, o.max_bias, o.softcap), src, GGML_TYPE_F32, c.m.shape(ne));
  same(name, c, y, ne, bound, changes);
}

void attentions() {
  Attention o;
  attention("attention", o, 1e-11);
  o.mask = false;
  attention("attention without a mask", o, 1e-11);
  o = Attention();
  o.dv = 48;
  attention("attention with longer values", o, 1e-11);
  o = Attention();
  o.softcap = 2.0f;
  attention("attention, capped", o, 1e-11);
  o = Attention();
  o.max_bias = 8.0f;
  attention("attention, biased by distance", o, 1e-11);
  o = Attention();
  o.sinks = true;
  attention("attention with sinks", o, 1e-11);
  // Here it is the CPU's kernel that rounds: queries to the type of the keys.
  o = Attention();
  o.type = GGML_TYPE_F16;
  attention("attention, halves", o, 1e-6);
  o.type = GGML_TYPE_BF16;
  attention("attention, bf16", o, 1e-4);
  o.type = GGML_TYPE_Q8_0;
  attention("attention, q8_0", o, 1e-4);
  o = Attention();
  o.d = o.dv = 64;
  attention("attention, F32 keys", o, 1e-11);
  o.type = GGML_TYPE_F16;
  attention("attention that the device has", o, 0, /*changes=*/false);
}

/// [5, 4, 3] seen as [4, 5, 3]: no kernel that walks along memory takes it.
uint32_t turned(Case& c, uint32_t x, int type = GGML_TYPE_F32) {
  const uint32_t p = c.m.permute(x, type, c.m.shape({4, 5, 3, 1}), {1, 0, 2, 3});
  return p;
}

/// Rows of 6 out of rows of 8.
uint32_t cut(Case& c, uint32_t x, int type = GGML_TYPE_F32) {
  return c.m.view(x, type, c.m.shape({6, 5, 1, 1}), {1, 8, 40, 40}, 2);
}

void rows() {
  using Node = std::function<uint32_t(Case&, uint32_t)>;
  const struct {
    const char* name;
    std::vector<int64_t> ne;
    int type;
    Node node;
  } cases[] = {
      {"unary",
       {6, 5, 1, 1},
       0,
       [](Case& c, uint32_t x) {
         return c.m.n(fb::CreateUnary(c.m.b, fb::UnaryKind_Exp), {x}, 0, c.m.shape({6, 5, 1, 1}));
       }},
      {"sqr",
       {6, 5, 1, 1},
       0,
       [](Case& c, uint32_t x) {
         return c.m.n(fb::CreateUnary(c.m.b, fb::UnaryKind_Sqr), {x}, 0, c.m.shape({6, 5, 1, 1}));
       }},
      {"clamp",
       {6, 5, 1, 1},
       0,
       [](Case& c, uint32_t x) {
         return c.m.n(fb::CreateClamp(c.m.b, -0.5f, 0.25f), {x}, 0, c.m.shape({6, 5, 1, 1}));
       }},
      {"leaky_relu",
       {6, 5, 1, 1},
       0,
       [](Case& c, uint32_t x) {
         return c.m.n(fb::CreateLeakyRelu(c.m.b, 0.1f), {x}, 0, c.m.shape({6, 5, 1, 1}));
       }},
      {"sum",
       {1, 1, 1, 1},
       0,
       [](Case& c, uint32_t x) {
         return c.m.n(fb::CreateSum(c.m.b), {x}, 0, c.m.shape({1, 1, 1, 1}));
       }},
      {"argsort",
       {6, 5, 1, 1},
       GGML_TYPE_I32,
       [](Case& c, uint32_t x) {
         return c.m.n(fb::CreateArgsort(c.m.b, true), {x}, GGML_TYPE_I32, c.m.shape({6, 5, 1, 1}));
       }},
      {"top_k",
       {3, 5, 1, 1},
       GGML_TYPE_I32,
       [](Case& c, uint32_t x) {
         return c.m.n(fb::CreateTopK(c.m.b, 3), {x}, GGML_TYPE_I32, c.m.shape({3, 5, 1, 1}));
       }},
      {"argmax",
       {5, 1, 1, 1},
       GGML_TYPE_I32,
       [](Case& c, uint32_t x) {
         return c.m.n(fb::CreateArgmax(c.m.b), {x}, GGML_TYPE_I32, c.m.shape({5, 1, 1, 1}));
       }},
      {"group_norm",
       {6, 5, 1, 1},
       0,
       [](Case& c, uint32_t x) {
         return c.m.n(fb::CreateGroupNorm(c.m.b, 1, 1e-5f), {x}, 0, c.m.shape({6, 5, 1, 1}));
       }},
  };
  for (const auto& k : cases) {
    Case c;
    same(k.name, c, k.node(c, cut(c, c.input({8, 5, 1, 1}, 7))), k.ne, 1e-12, std::string_view(k.name) != "clamp",
         k.type == GGML_TYPE_I32 ? I32 : F32);
  }
}

void types() {
  {
    Case c;  // 120 numbers below 2^24, three times over
    const uint32_t x =
        c.cast(c.m.n(fb::CreateScale(c.m.b, 1e6f, 0.0f), {c.input({6, 5, 4, 1}, 1)}, 0, c.m.shape({6, 5, 4, 1})),
               GGML_TYPE_I32, {6, 5, 4, 1});
    const std::vector<int64_t> ne{12, 5, 4, 3};
    same("repeat, integers", c, c.m.n(fb::CreateRepeat(c.m.b), {x}, GGML_TYPE_I32, c.m.shape(ne)), ne, 0, true, I32);
  }
  {
    Case c;
    const uint32_t x = c.cast(c.input({6, 5, 4, 1}, 1), GGML_TYPE_BF16, {6, 5, 4, 1});
    const std::vector<int64_t> ne{6, 10, 4, 1};
    const uint32_t y = c.m.n(fb::CreateRepeat(c.m.b), {x}, GGML_TYPE_BF16, c.m.shape(ne));
    same("repeat, bf16", c, c.cast(y, GGML_TYPE_F16, ne), ne, 0, true, F16);
  }
  {
    Case c;
    const uint32_t x = c.cast(c.input({6, 5, 4, 1}, 1), GGML_TYPE_F16, {6, 5, 4, 1});
    same("sum, halves", c,
         c.cast(c.m.n(fb::CreateSum(c.m.b), {x}, GGML_TYPE_F16, c.m.shape({1, 1, 1, 1})), GGML_TYPE_F16, {1, 1, 1, 1}),
         {1, 1, 1, 1}, 1e-6, true, F16);
  }
  {
    Case c;
    const uint32_t x = c.cast(c.input({8, 8, 2, 1}, 1), GGML_TYPE_F16, {8, 8, 2, 1});
    const std::vector<int64_t> ne{4, 4, 2, 1};
    same("pooling, halves", c, c.m.n(fb::CreatePool2d(c.m.b, fb::PoolKind_Avg, 2, 2, 2, 2), {x}, 0, c.m.shape(ne)), ne,
         1e-12);
  }
  for (ggml_type type : {GGML_TYPE_F16, GGML_TYPE_BF16}) {
    Case c;
    const uint32_t w = c.weight("w", GGML_TYPE_F32, {32, 7, 1, 1});
    const uint32_t x = c.cast(c.input({32, 5, 1, 1}, 1), type, {32, 5, 1, 1});
    same("product of F32 and halves", c, c.m.n(fb::CreateMulMat(c.m.b), {w, x}, 0, c.m.shape({7, 5, 1, 1})),
         {7, 5, 1, 1}, 1e-12, /*changes=*/false);
  }
  for (ggml_type type : {GGML_TYPE_Q4_K, GGML_TYPE_IQ4_NL, GGML_TYPE_Q6_K}) {
    Case c;
    const uint32_t w = c.weight("w", type, {256, 3, 2, 1});
    same("quantised weight as numbers", c, c.m.n(fb::CreateCast(c.m.b), {w}, GGML_TYPE_F32, c.m.shape({256, 3, 2, 1})),
         {256, 3, 2, 1}, 0);
  }
  {
    Case c;
    const std::vector<int64_t> ne{4, 5, 3, 1};
    const uint32_t x = turned(c, c.cast(c.input({5, 4, 3, 1}, 1), GGML_TYPE_I32, {5, 4, 3, 1}), GGML_TYPE_I32);
    same("packing integers", c, c.m.n(fb::CreateCont(c.m.b), {x}, GGML_TYPE_I32, c.m.shape(ne)), ne, 0, false, I32);
  }
}

/// Values of halves written into rows of a cache, and a state copied in another type.
void writes() {
  for (ggml_type type : {GGML_TYPE_F32, GGML_TYPE_Q8_0}) {
    Case c;
    const std::vector<int64_t> ne{32, 6, 1, 1};
    const uint32_t shape = c.m.shape(ne);
    const uint32_t state = c.m.state_leaf(c.m.state_slot("s", shape, type), type, shape);
    const uint32_t x = c.cast(c.input({32, 2, 1, 1}, 1), GGML_TYPE_F16, {32, 2, 1, 1});
    const uint32_t ids_shape = c.m.shape({2, 1, 1, 1});
    const uint32_t ids =
        c.m.const_leaf(c.m.constant(ids_shape, GGML_TYPE_I32, std::vector<int32_t>{4, 1}), GGML_TYPE_I32, ids_shape);
    const uint32_t y = c.m.n(fb::CreateSetRows(c.m.b), {state, x, ids}, type, shape);
    same("rows of halves", c, c.cast(y, GGML_TYPE_F32, ne), ne, 0);
  }
  Case c;
  const std::vector<int64_t> ne{32, 6, 1, 1};
  const uint32_t shape = c.m.shape(ne);
  const uint32_t state = c.m.state_leaf(c.m.state_slot("s", shape, GGML_TYPE_Q8_0), GGML_TYPE_Q8_0, shape);
  const uint32_t x = c.cast(c.input(ne, 1), GGML_TYPE_F16, ne);
  const uint32_t y = c.m.n(fb::CreateCpy(c.m.b), {x, state}, GGML_TYPE_Q8_0, shape);
  same("a state of q8_0", c, c.cast(y, GGML_TYPE_F32, ne), ne, 0);
}

/// Experts [32, 7, 4] of which each of five tokens takes three, from `row` rows of its own. `sorted`: a sort chose
/// them, so they differ; else one token takes one expert three times.
void experts(const char* name, ggml_type type, int64_t row, bool sorted, double bound, bool changes) {
  constexpr int64_t K = 32, N = 7, E = 4, T = 5, U = 3;
  Case c;
  const uint32_t w = c.weight("w", type, {K, N, E, 1});
  const uint32_t x = c.input({K, row, T, 1}, 1);
  const uint32_t shape = c.m.shape({U, T, 1, 1});
  uint32_t ids;
  if (sorted) {
    const uint32_t scores = c.input({E, T, 1, 1}, 2);
    const uint32_t order = c.m.n(fb::CreateArgsort(c.m.b, true), {scores}, GGML_TYPE_I32, c.m.shape({E, T, 1, 1}));
    ids = c.m.view(order, GGML_TYPE_I32, shape, {1, E, E * T, E * T}, 1);
  } else {
    const std::vector<int32_t> chosen{2, 2, 2, 0, 1, 3, 3, 0, 3, 1, 2, 0, 0, 0, 1};
    ids = c.m.const_leaf(c.m.constant(shape, GGML_TYPE_I32, chosen), GGML_TYPE_I32, shape);
  }
  const std::vector<int64_t> ne{N, U, T, 1};
  // A device sorts keys without NaN: a copy and a clamp.
  same(name, c, c.m.n(fb::CreateMulMatId(c.m.b), {w, x, ids}, GGML_TYPE_F32, c.m.shape(ne)), ne, bound, changes, F32,
       sorted ? 2 : 0);
}

void mixtures() {
  experts("experts, sorted", GGML_TYPE_F32, 1, true, 0, false);
  experts("experts, sorted, own rows", GGML_TYPE_F32, 3, true, 0, false);
  experts("experts, any", GGML_TYPE_F32, 1, false, 1e-12, true);
  experts("experts, any, own rows", GGML_TYPE_F32, 3, false, 1e-12, true);
  experts("experts, any, q8_0", GGML_TYPE_Q8_0, 3, false, 1e-12, true);
}

/// Products of F32 say that nothing may be rounded; others leave it to the kernel.
void precision() {
  current = "precision";
  for (ggml_type type : {GGML_TYPE_F32, GGML_TYPE_F16, GGML_TYPE_Q8_0}) {
    Case c;
    const uint32_t w = c.weight("w", type, {32, 7, 1, 1});
    c.m.output(c.m.n(fb::CreateMulMat(c.m.b), {w, c.input({32, 5, 1, 1}, 1)}, 0, c.m.shape({7, 5, 1, 1})), {5, 7});
    auto ir_graph = parse(c.m.finish());
    CHECK_OK(ir_graph.status());
    if (!ir_graph.ok()) continue;
    Store store(**ir_graph);
    store.set_weight("w", type, noise(224, 1));
    etggml::graph::BuildOptions options;
    options.device = &cuda;
    auto built = etggml::graph::build(**ir_graph, {}, store, options);
    CHECK_OK(built.status());
    if (!built.ok()) continue;
    const ggml_tensor* product = ggml_graph_node(built->graph, ggml_graph_n_nodes(built->graph) - 1);
    CHECK(product->op == GGML_OP_MUL_MAT && product->op_params[0] == GGML_PREC_F32);
    CHECK((product->op_params[3] == GGML_PREC_F32) == (type == GGML_TYPE_F32));
  }
}

/// What no form makes runnable is built as it stands, for the caller to refuse.
void refused() {
  current = "refused";
  Case c;
  const uint32_t w = c.weight("w", GGML_TYPE_TQ1_0, {256, 2, 1, 1});
  c.m.output(c.m.n(fb::CreateMulMat(c.m.b), {w, c.input({256, 1, 1, 1}, 1)}, 0, c.m.shape({2, 1, 1, 1})), {1, 2});
  auto ir_graph = parse(c.m.finish());
  CHECK_OK(ir_graph.status());
  if (!ir_graph.ok()) return;
  Store store(**ir_graph);
  store.set_weight("w", GGML_TYPE_TQ1_0, noise(512, 1));
  etggml::graph::BuildOptions options;
  options.device = &cuda;
  std::printf("(one refusal is expected) ");
  CHECK(unsupported_nodes(**ir_graph, store, options) == 1);
}

}  // namespace

int main() {
  attentions();
  rows();
  types();
  writes();
  mixtures();
  precision();
  refused();
  std::printf("%d failures\n", failures);
  return failures != 0;
}
