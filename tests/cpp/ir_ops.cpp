// Every op of the IR but attention and the KV cache (ir_attention.cpp): graphs built by hand give the right numbers.
#include <algorithm>

#include "ir_run.h"
#include "special_functions.h"

using namespace irtest;

namespace {

/// A graph of one input x (F32, torch dims) and the nodes that `build` appends; it returns the output node.
struct OneInput {
  Maker m;
  uint32_t x = 0;

  OneInput(std::vector<int64_t> dims, std::vector<int64_t> ne) {
    x = m.input_leaf(m.input("x", F32, std::move(dims)), GGML_TYPE_F32, m.shape(std::move(ne)));
  }
  std::vector<float> run(uint32_t value, std::vector<int64_t> out_dims, const std::vector<float>& data,
                         std::vector<int64_t> dims, int8_t dtype = F32) {
    m.output(value, std::move(out_dims), dtype);
    auto ir_graph = parse(m.finish());
    CHECK_OK(ir_graph.status());
    if (!ir_graph.ok()) return {};
    Store store(**ir_graph);
    auto out = irtest::run(**ir_graph, store, {Arg::floats(std::move(dims), data)});
    CHECK_OK(out.status());
    return out.ok() ? out->values[0] : std::vector<float>();
  }
};

float softplus(float x) { return x > 20 ? x : std::log1p(std::exp(x)); }

constexpr float kParameter = 1.7f;

float expected_unary(fb::UnaryKind kind, float x) {
  switch (kind) {
    case fb::UnaryKind_Abs:
      return std::fabs(x);
    case fb::UnaryKind_Sgn:
      return x > 0 ? 1.0f : x < 0 ? -1.0f : 0.0f;
    case fb::UnaryKind_Neg:
      return -x;
    case fb::UnaryKind_Step:
      return x > 0 ? 1.0f : 0.0f;
    case fb::UnaryKind_Tanh:
      return std::tanh(x);
    case fb::UnaryKind_Elu:
      return x > 0 ? x : std::expm1(x);
    case fb::UnaryKind_Relu:
      return std::max(x, 0.0f);
    case fb::UnaryKind_Sigmoid:
      return 1 / (1 + std::exp(-x));
    case fb::UnaryKind_Gelu:
    case fb::UnaryKind_GeluTanh:
      return 0.5f * x * (1 + std::tanh(0.79788456f * x * (1 + 0.044715f * x * x)));
    case fb::UnaryKind_GeluQuick:
      return x / (1 + std::exp(-1.702f * x));
    case fb::UnaryKind_Silu:
      return x / (1 + std::exp(-x));
    case fb::UnaryKind_HardSwish:
      return x * std::min(1.0f, std::max(0.0f, (x + 3) / 6));
    case fb::UnaryKind_HardSigmoid:
      return std::min(1.0f, std::max(0.0f, (x + 3) / 6));
    case fb::UnaryKind_Exp:
      return std::exp(x);
    case fb::UnaryKind_GeluErf:
      return 0.5f * x * (1 + std::erf(x * 0.70710678f));
    case fb::UnaryKind_Softplus:
      return softplus(x);
    case fb::UnaryKind_Expm1:
      return std::expm1(x);
    case fb::UnaryKind_Floor:
      return std::floor(x);
    case fb::UnaryKind_Ceil:
      return std::ceil(x);
    case fb::UnaryKind_Round:
      return std::round(x);
    case fb::UnaryKind_Trunc:
      return std::trunc(x);
    case fb::UnaryKind_Sqr:
      return x * x;
    case fb::UnaryKind_Sqrt:
      return std::sqrt(x);
    case fb::UnaryKind_Log:
      return std::log(x);
    case fb::UnaryKind_Sin:
      return std::sin(x);
    case fb::UnaryKind_Cos:
      return std::cos(x);
    case fb::UnaryKind_Power:
      return std::pow(x, kParameter);
    case fb::UnaryKind_PowerOf:
      return std::pow(kParameter, x);
    case fb::UnaryKind_Tanhshrink:
      return x - std::tanh(x);
    case fb::UnaryKind_Erfinv:
      return static_cast<float>(inverse_erf(x));
    case fb::UnaryKind_Lgamma:
      return static_cast<float>(std::lgamma(static_cast<double>(x)));
    case fb::UnaryKind_Digamma:
      return static_cast<float>(slope_of_lgamma(x));
  }
  return NAN;
}

/// How far a kind may be from the C library's F32 function.
double unary_bound(fb::UnaryKind kind) {
  switch (kind) {
    case fb::UnaryKind_Abs:
    case fb::UnaryKind_Sgn:
    case fb::UnaryKind_Neg:
    case fb::UnaryKind_Step:
    case fb::UnaryKind_Relu:
    case fb::UnaryKind_Floor:
    case fb::UnaryKind_Ceil:
    case fb::UnaryKind_Round:
    case fb::UnaryKind_Trunc:
    case fb::UnaryKind_Sqr:
    case fb::UnaryKind_Sqrt:
      return 0;
    case fb::UnaryKind_Gelu:
    case fb::UnaryKind_GeluQuick:
      return 3e-7;  // ggml looks them up in a table of halves
    default:
      return 1e-13;
  }
}

void unary() {
  for (int k = fb::UnaryKind_MIN; k <= fb::UnaryKind_MAX; ++k) {
    const auto kind = static_cast<fb::UnaryKind>(k);
    std::vector<float> data = noise(3 * 37, 7 + k), want;
    for (float& v : data)
      v = kind == fb::UnaryKind_Sqrt || kind == fb::UnaryKind_Log || kind == fb::UnaryKind_Power ||
                  kind == fb::UnaryKind_Digamma
              ? std::fabs(v) * 4 + 0.01f
          : kind == fb::UnaryKind_Erfinv ? v
                                         : v * 4;
    for (float v : data) want.push_back(expected_unary(kind, v));
    OneInput g({3, 37}, {37, 3, 1, 1});
    const uint32_t y = g.m.n(fb::CreateUnary(g.m.b, kind, kParameter), {g.x}, GGML_TYPE_F32, g.m.shape({37, 3, 1, 1}));
    const double e = nmse(g.run(y, {3, 37}, data, {3, 37}), want), bound = unary_bound(kind);
    if (!(e <= bound)) std::printf("unary %s: nmse %g, allowed %g\n", fb::EnumNameUnaryKind(kind), e, bound);
    CHECK(e <= bound);
  }
}

void scalar_parameters() {
  const std::vector<float> data = noise(40, 3);
  std::vector<float> leaky, clamped, scaled;
  for (float v : data) {
    leaky.push_back(v > 0 ? v : 0.2f * v);
    clamped.push_back(std::min(0.5f, std::max(-0.25f, v)));
    scaled.push_back(3 * v - 0.5f);
  }
  {
    OneInput g({40}, {40, 1, 1, 1});
    CHECK(nmse(g.run(g.m.n(fb::CreateLeakyRelu(g.m.b, 0.2f), {g.x}, 0, 0), {40}, data, {40}), leaky) < 1e-12);
  }
  {
    OneInput g({40}, {40, 1, 1, 1});
    CHECK(nmse(g.run(g.m.n(fb::CreateClamp(g.m.b, -0.25f, 0.5f), {g.x}, 0, 0), {40}, data, {40}), clamped) < 1e-12);
  }
  {
    OneInput g({40}, {40, 1, 1, 1});
    CHECK(nmse(g.run(g.m.n(fb::CreateScale(g.m.b, 3.0f, -0.5f), {g.x}, 0, 0), {40}, data, {40}), scaled) < 1e-12);
  }
}

/// Row numbers computed in F32: whatever they are, the clamp makes rows of the table of them.
void computed_rows() {
  OneInput g({4}, {4, 1, 1, 1});
  const uint32_t table = g.m.shape({2, 3, 1, 1});
  const uint32_t t = g.m.const_leaf(g.m.constant(table, GGML_TYPE_F32, std::vector<float>{10, 11, 20, 21, 30, 31}),
                                    GGML_TYPE_F32, table);
  const uint32_t clamped = g.m.n(fb::CreateClamp(g.m.b, 0, 2), {g.x}, GGML_TYPE_F32, g.m.shape({4, 1, 1, 1}));
  const uint32_t ids = g.m.n(fb::CreateCast(g.m.b), {clamped}, GGML_TYPE_I32, g.m.shape({4, 1, 1, 1}));
  const uint32_t y = g.m.n(fb::CreateGetRows(g.m.b), {t, ids}, GGML_TYPE_F32, g.m.shape({2, 4, 1, 1}));
  const auto got = g.run(y, {4, 2}, {1, -5, 1e30f, NAN}, {4});
  CHECK(got.size() == 8);
  if (got.size() != 8) return;
  CHECK(got[0] == 20 && got[1] == 21 && got[2] == 10 && got[4] == 30);
  CHECK(got[6] == 10 || got[6] == 30);  // NaN: one of the limits
}

void binary_broadcast() {
  // [2, 3, 4] op [3, 1] with the second repeated along rows and batch, as the kernels do.
  for (int k = fb::BinaryKind_MIN; k <= fb::BinaryKind_MAX; ++k) {
    Maker m;
    const uint32_t xs = m.shape({4, 3, 2, 1});
    const uint32_t x = m.input_leaf(m.input("x", F32, {2, 3, 4}), GGML_TYPE_F32, xs);
    const uint32_t y = m.input_leaf(m.input("y", F32, {3, 1}), GGML_TYPE_F32, m.shape({1, 3, 1, 1}));
    m.output(m.n(fb::CreateBinary(m.b, static_cast<fb::BinaryKind>(k)), {x, y}, GGML_TYPE_F32, xs), {2, 3, 4});
    auto ir_graph = parse(m.finish());
    CHECK_OK(ir_graph.status());
    if (!ir_graph.ok()) return;
    const std::vector<float> a = noise(24, 1), b = noise(3, 2);
    std::vector<float> want;
    for (int i = 0; i < 24; ++i) {
      const float u = a[i], v = b[i / 4 % 3];
      want.push_back(k == fb::BinaryKind_Add   ? u + v
                     : k == fb::BinaryKind_Sub ? u - v
                     : k == fb::BinaryKind_Mul ? u * v
                                               : u / v);
    }
    Store store(**ir_graph);
    auto out = run(**ir_graph, store, {Arg::floats({2, 3, 4}, a), Arg::floats({3, 1}, b)});
    CHECK_OK(out.status());
    if (out.ok()) CHECK(nmse(out->values[0], want) < 1e-12);
  }
}

void gated() {
  const std::vector<float> data = noise(2 * 8, 5);
  std::vector<float> want;
  for (int r = 0; r < 2; ++r) {
    for (int c = 0; c < 4; ++c) {
      const float gate = data[r * 8 + c], up = data[r * 8 + 4 + c];
      want.push_back(gate / (1 + std::exp(-gate)) * up);
    }
  }
  {
    OneInput g({2, 8}, {8, 2, 1, 1});
    const uint32_t y = g.m.n(fb::CreateGlu(g.m.b, fb::GluKind_Swiglu), {g.x}, GGML_TYPE_F32, g.m.shape({4, 2, 1, 1}));
    CHECK(nmse(g.run(y, {2, 4}, data, {2, 8}), want) < 1e-10);
  }
  {  // two sources, here the halves as strided views
    OneInput g({2, 8}, {8, 2, 1, 1});
    const uint32_t half = g.m.shape({4, 2, 1, 1});
    const uint32_t a = g.m.view(g.x, GGML_TYPE_F32, half, {1, 8, 16, 16}, 0);
    const uint32_t b = g.m.view(g.x, GGML_TYPE_F32, half, {1, 8, 16, 16}, 4);
    const uint32_t y = g.m.n(fb::CreateGlu(g.m.b, fb::GluKind_Swiglu), {a, b}, GGML_TYPE_F32, half);
    CHECK(nmse(g.run(y, {2, 4}, data, {2, 8}), want) < 1e-10);
  }
}

void norms() {
  const int rows = 6, columns = 33;
  const std::vector<float> data = noise(rows * columns, 9);
  std::vector<float> layer, rms, l2, group(data.size());
  auto moments = [&](int from, int n, double* mean, double* var, double* sq) {
    *mean = *sq = *var = 0;
    for (int i = from; i < from + n; ++i) *mean += data[i], *sq += double(data[i]) * data[i];
    *mean /= n;
    for (int i = from; i < from + n; ++i) *var += (data[i] - *mean) * (data[i] - *mean);
    *var /= n;
  };
  double mean = 0, var = 0, sq = 0;
  for (int r = 0; r < rows; ++r) {
    moments(r * columns, columns, &mean, &var, &sq);
    for (int c = 0; c < columns; ++c) {
      const double v = data[r * columns + c];
      layer.push_back(static_cast<float>((v - mean) / std::sqrt(var + 1e-5)));
      rms.push_back(static_cast<float>(v / std::sqrt(sq / columns + 1e-5)));
      l2.push_back(static_cast<float>(v / std::max(std::sqrt(sq), 1e-5)));
    }
  }
  for (int half = 0; half < 2; ++half) {  // channels = rows here, two groups of three
    moments(half * 3 * columns, 3 * columns, &mean, &var, &sq);
    for (int i = half * 3 * columns; i < (half + 1) * 3 * columns; ++i) {
      group[i] = static_cast<float>((data[i] - mean) / std::sqrt(var + 1e-5));
    }
  }
  auto check = [&](auto make, const std::vector<float>& want, std::vector<int64_t> ne) {
    OneInput g({rows, columns}, ne);
    const uint32_t y = make(g.m, g.x);
    CHECK(nmse(g.run(y, {rows, columns}, data, {rows, columns}), want) < 1e-10);
  };
  const std::vector<int64_t> matrix{columns, rows, 1, 1};
  check([](Maker& m, uint32_t x) { return m.n(fb::CreateNorm(m.b, 1e-5f), {x}, 0, 0); }, layer, matrix);
  check([](Maker& m, uint32_t x) { return m.n(fb::CreateRmsNorm(m.b, 1e-5f), {x}, 0, 0); }, rms, matrix);
  check([](Maker& m, uint32_t x) { return m.n(fb::CreateL2Norm(m.b, 1e-5f), {x}, 0, 0); }, l2, matrix);
  check([](Maker& m, uint32_t x) { return m.n(fb::CreateGroupNorm(m.b, 2, 1e-5f), {x}, 0, 0); }, group,
        {columns, 1, rows, 1});
}

/// Linear with a dynamic number of rows, for weights of several types.
void linear() {
  const int K = 64, N = 5;
  const std::vector<float> w = noise(K * N, 11), bias = noise(N, 12);
  struct {
    ggml_type type;
    double bound;
  } cases[] = {{GGML_TYPE_F32, 1e-10},
               {GGML_TYPE_F16, 1e-5},
               {GGML_TYPE_BF16, 1e-4},
               {GGML_TYPE_Q8_0, 1e-3},
               {GGML_TYPE_Q4_0, 2e-2}};
  Maker m;
  const uint32_t input = m.input("x", F32, {-1, K});
  const uint32_t t = m.symbol_from_dim("T", 1, 9, input, 0);
  CHECK(m.symbol_dim(t) == -1);
  const uint32_t xs = m.shape({K, -1, 1, 1}), ws = m.shape({K, N, 1, 1}), bs = m.shape({N, 1, 1, 1}),
                 ys = m.shape({N, -1, 1, 1});
  const uint32_t x = m.input_leaf(input, GGML_TYPE_F32, xs);
  const uint32_t wl = m.weight_leaf(m.weight_slot("w", ws), 255, ws);
  const uint32_t y = m.n(fb::CreateMulMat(m.b), {wl, x}, GGML_TYPE_F32, ys);
  const uint32_t bl = m.weight_leaf(m.weight_slot("b", bs, GGML_TYPE_F32), GGML_TYPE_F32, bs);
  m.output(m.n(fb::CreateBinary(m.b, fb::BinaryKind_Add), {y, bl}, GGML_TYPE_F32, ys), {-1, N});
  auto ir_graph = parse(m.finish());
  CHECK_OK(ir_graph.status());
  if (!ir_graph.ok()) return;
  for (const auto& c : cases) {
    for (int64_t rows : {1, 4, 9}) {
      const std::vector<float> data = noise(rows * K, 13);
      std::vector<float> want;
      for (int r = 0; r < rows; ++r) {
        for (int o = 0; o < N; ++o) {
          double sum = bias[o];
          for (int k = 0; k < K; ++k) sum += double(data[r * K + k]) * w[o * K + k];
          want.push_back(static_cast<float>(sum));
        }
      }
      Store store(**ir_graph);
      store.set_weight("w", c.type, w);
      store.set_weight("b", GGML_TYPE_F32, bias);
      auto out = run(**ir_graph, store, {Arg::floats({rows, K}, data)});
      CHECK_OK(out.status());
      if (out.ok()) CHECK(nmse(out->values[0], want) < c.bound);
    }
  }
  // A type the product cannot take is the file's doing, and an error, not an abort.
  Store store(**ir_graph);
  store.set_weight("w", GGML_TYPE_I32, {});
  auto out = run(**ir_graph, store, {Arg::floats({1, K}, noise(K, 1))});
  CHECK(out.status().code == ETGGML_UNSUPPORTED);
  CHECK(out.status().message.find("'w'") != std::string::npos);
}

/// Mixture of experts: topk of scores, then each token through its experts.
void experts() {
  const int K = 32, N = 3, E = 6, T = 4, U = 2;
  Maker m;
  const uint32_t x_in = m.input("x", F32, {T, K}), s_in = m.input("scores", F32, {T, E});
  const uint32_t x = m.input_leaf(x_in, GGML_TYPE_F32, m.shape({K, 1, T, 1}));
  const uint32_t s = m.input_leaf(s_in, GGML_TYPE_F32, m.shape({E, T, 1, 1}));
  const uint32_t ids = m.n(fb::CreateTopK(m.b, U), {s}, GGML_TYPE_I32, m.shape({U, T, 1, 1}));
  const uint32_t ws = m.shape({K, N, E, 1});
  const uint32_t w = m.weight_leaf(m.weight_slot("experts", ws), 255, ws);
  m.output(m.n(fb::CreateMulMatId(m.b), {w, x, ids}, GGML_TYPE_F32, m.shape({N, U, T, 1})), {T, U, N});
  m.output(ids, {T, U}, I32);
  auto ir_graph = parse(m.finish());
  CHECK_OK(ir_graph.status());
  if (!ir_graph.ok()) return;
  const std::vector<float> data = noise(T * K, 21), scores = noise(T * E, 22), weights = noise(K * N * E, 23);
  std::vector<float> want, want_ids;
  for (int t = 0; t < T; ++t) {
    std::vector<int> order{0, 1, 2, 3, 4, 5};
    std::sort(order.begin(), order.end(), [&](int a, int b) { return scores[t * E + a] > scores[t * E + b]; });
    for (int u = 0; u < U; ++u) {
      want_ids.push_back(static_cast<float>(order[u]));
      for (int n = 0; n < N; ++n) {
        double sum = 0;
        for (int k = 0; k < K; ++k) sum += double(data[t * K + k]) * weights[(order[u] * N + n) * K + k];
        want.push_back(static_cast<float>(sum));
      }
    }
  }
  Store store(**ir_graph);
  store.set_weight("experts", GGML_TYPE_F32, weights);
  auto out = run(**ir_graph, store, {Arg::floats({T, K}, data), Arg::floats({T, E}, scores)});
  CHECK_OK(out.status());
  if (!out.ok()) return;
  CHECK(nmse(out->values[0], want) < 1e-10);
  CHECK(out->values[1] == want_ids);
}

void movement() {
  const std::vector<float> data = noise(24, 31);  // torch [2, 3, 4]
  auto at = [&](int i, int j, int k) { return data[(i * 3 + j) * 4 + k]; };
  std::vector<float> want;
  {  // permute(2, 0, 1), read in order: the output is made contiguous at the boundary
    for (int k = 0; k < 4; ++k)
      for (int i = 0; i < 2; ++i)
        for (int j = 0; j < 3; ++j) want.push_back(at(i, j, k));
    OneInput g({2, 3, 4}, {4, 3, 2, 1});
    // torch dims (0,1,2) are ggml axes (2,1,0): k becomes the slowest, j the fastest.
    const uint32_t y = g.m.permute(g.x, GGML_TYPE_F32, g.m.shape({3, 2, 4, 1}), {2, 0, 1, 3});
    CHECK(g.run(y, {4, 2, 3}, data, {2, 3, 4}) == want);
  }
  {  // x[:, 1:3, 2:4], contiguous, reshaped, repeated, joined with itself, padded
    want.clear();
    std::vector<float> rows;
    for (int i = 0; i < 2; ++i)
      for (int j = 1; j < 3; ++j)
        for (int k = 2; k < 4; ++k) rows.push_back(at(i, j, k));
    OneInput g({2, 3, 4}, {4, 3, 2, 1});
    Maker& m = g.m;
    const uint32_t v = m.view(g.x, GGML_TYPE_F32, m.shape({2, 2, 2, 1}), {1, 4, 12, 24}, 6);
    const uint32_t c = m.n(fb::CreateCont(m.b), {v}, GGML_TYPE_F32, m.shape({2, 2, 2, 1}));
    const uint32_t flat = m.n(fb::CreateReshape(m.b), {c}, GGML_TYPE_F32, m.shape({8, 1, 1, 1}));
    const uint32_t twice = m.n(fb::CreateRepeat(m.b), {flat}, GGML_TYPE_F32, m.shape({8, 2, 1, 1}));
    const uint32_t joined = m.n(fb::CreateConcat(m.b, 1), {twice, flat}, GGML_TYPE_F32, m.shape({8, 3, 1, 1}));
    std::vector<int32_t> before{1, 0, 0, 0}, after{0, 1, 0, 0};
    const uint32_t y = m.n(fb::CreatePad(m.b, m.b.CreateVector(before), m.b.CreateVector(after)), {joined},
                           GGML_TYPE_F32, m.shape({9, 4, 1, 1}));
    for (int r = 0; r < 4; ++r) {
      want.push_back(0);
      for (float value : rows) want.push_back(r < 3 ? value : 0);
    }
    CHECK(g.run(y, {4, 9}, data, {2, 3, 4}) == want);
  }
  {  // cast to f16 and back, plus a fill
    OneInput g({24}, {24, 1, 1, 1});
    const uint32_t h = g.m.n(fb::CreateCast(g.m.b), {g.x}, GGML_TYPE_F16, 0);
    const uint32_t f = g.m.n(fb::CreateCast(g.m.b), {h}, GGML_TYPE_F32, 0);
    const uint32_t one = g.m.n(fb::CreateFill(g.m.b, 1.5f), {}, GGML_TYPE_F32, 0);
    const uint32_t y = g.m.n(fb::CreateBinary(g.m.b, fb::BinaryKind_Add), {f, one}, GGML_TYPE_F32, 0);
    want.clear();
    for (float v : data) want.push_back(ggml_fp16_to_fp32(ggml_fp32_to_fp16(v)) + 1.5f);
    CHECK(nmse(g.run(y, {24}, data, {24}), want) < 1e-12);
  }
}

void reductions() {
  const int R = 3, C = 10;
  const std::vector<float> data = noise(R * C, 41);
  std::vector<float> sums, means, argmax, argsort, top, cumulative;
  float all = 0;
  for (int r = 0; r < R; ++r) {
    const float* row = data.data() + r * C;
    float s = 0;
    for (int c = 0; c < C; ++c) cumulative.push_back(s += row[c]);
    all += s;
    sums.push_back(s);
    means.push_back(s / C);
    std::vector<int> order(C);
    for (int c = 0; c < C; ++c) order[c] = c;
    std::sort(order.begin(), order.end(), [&](int a, int b) { return row[a] > row[b]; });
    argmax.push_back(static_cast<float>(order[0]));
    for (int c = 0; c < C; ++c) argsort.push_back(static_cast<float>(order[c]));
    for (int c = 0; c < 4; ++c) top.push_back(static_cast<float>(order[c]));
  }
  auto check = [&](auto make, int type, std::vector<int64_t> ne, std::vector<int64_t> dims,
                   const std::vector<float>& want) {
    OneInput g({R, C}, {C, R, 1, 1});
    const uint32_t y = g.m.n(make(g.m.b), {g.x}, type, g.m.shape(ne));
    CHECK(nmse(g.run(y, dims, data, {R, C}, type == GGML_TYPE_I32 ? I32 : F32), want) < 1e-10);
  };
  check([](auto& b) { return fb::CreateSum(b); }, GGML_TYPE_F32, {1, 1, 1, 1}, {}, {all});
  check([](auto& b) { return fb::CreateSumRows(b); }, GGML_TYPE_F32, {1, R, 1, 1}, {R, 1}, sums);
  check([](auto& b) { return fb::CreateMean(b); }, GGML_TYPE_F32, {1, R, 1, 1}, {R, 1}, means);
  check([](auto& b) { return fb::CreateArgmax(b); }, GGML_TYPE_I32, {R, 1, 1, 1}, {R}, argmax);
  check([](auto& b) { return fb::CreateArgsort(b, true); }, GGML_TYPE_I32, {C, R, 1, 1}, {R, C}, argsort);
  check([](auto& b) { return fb::CreateTopK(b, 4); }, GGML_TYPE_I32, {4, R, 1, 1}, {R, 4}, top);
  check([](auto& b) { return fb::CreateCumsum(b); }, GGML_TYPE_F32, {C, R, 1, 1}, {R, C}, cumulative);
}

void softmax_with_bool_mask() {
  const int T = 3, S = 7;
  Maker m;
  const uint32_t xs = m.shape({S, T, 1, 1});
  const uint32_t x = m.input_leaf(m.input("x", F32, {T, S}), GGML_TYPE_F32, xs);
  const uint32_t mask = m.input_leaf(m.input("mask", BOOL, {T, S}), GGML_TYPE_F16, xs, true);
  m.output(m.n(fb::CreateSoftMax(m.b, 0.5f, 0.0f), {x, mask}, GGML_TYPE_F32, xs), {T, S});
  auto ir_graph = parse(m.finish());
  CHECK_OK(ir_graph.status());
  if (!ir_graph.ok()) return;
  const std::vector<float> data = noise(T * S, 51);
  std::vector<uint8_t> keep(T * S, 1);
  for (int i = 0; i < T * S; ++i) keep[i] = i % 3 != 1;
  std::vector<float> want;
  for (int t = 0; t < T; ++t) {
    double sum = 0;
    for (int s = 0; s < S; ++s) sum += keep[t * S + s] ? std::exp(0.5 * data[t * S + s]) : 0;
    for (int s = 0; s < S; ++s) want.push_back(keep[t * S + s] ? float(std::exp(0.5 * data[t * S + s]) / sum) : 0);
  }
  Store store(**ir_graph);
  auto out = run(**ir_graph, store, {Arg::floats({T, S}, data), Arg::of(BOOL, {T, S}, keep)});
  CHECK_OK(out.status());
  if (out.ok()) CHECK(nmse(out->values[0], want) < 1e-10);
}

/// conv2d as im2col + product, depthwise conv, pooling; against the definition.
void convolution() {
  const int C = 2, H = 5, W = 6, O = 3, K = 3;
  const std::vector<float> image = noise(C * H * W, 61), kernel = noise(O * C * K * K, 62), dw = noise(C * K * K, 63);
  auto pixel = [&](int c, int y, int x) {
    return y < 0 || y >= H || x < 0 || x >= W ? 0.0f : image[(c * H + y) * W + x];
  };
  std::vector<float> want, want_dw, want_pool;
  for (int o = 0; o < O; ++o)
    for (int y = 0; y < H; ++y)
      for (int x = 0; x < W; ++x) {
        double sum = 0;
        for (int c = 0; c < C; ++c)
          for (int i = 0; i < K; ++i)
            for (int j = 0; j < K; ++j)
              sum += double(pixel(c, y + i - 1, x + j - 1)) * kernel[((o * C + c) * K + i) * K + j];
        want.push_back(static_cast<float>(sum));
      }
  for (int c = 0; c < C; ++c)
    for (int y = 0; y < 2; ++y)
      for (int x = 0; x < 2; ++x) {
        double sum = 0;
        for (int i = 0; i < K; ++i)
          for (int j = 0; j < K; ++j) sum += double(pixel(c, 2 * y + i, 2 * x + j)) * dw[(c * K + i) * K + j];
        want_dw.push_back(static_cast<float>(sum));
      }
  for (int c = 0; c < C; ++c)
    for (int y = 0; y < 2; ++y)
      for (int x = 0; x < 3; ++x) {
        float best = -1e9f;
        for (int i = 0; i < 2; ++i)
          for (int j = 0; j < 2; ++j) best = std::max(best, pixel(c, 2 * y + i, 2 * x + j));
        want_pool.push_back(best);
      }
  const std::vector<int64_t> dims{1, C, H, W};
  Maker m;
  const uint32_t x = m.input_leaf(m.input("x", F32, dims), GGML_TYPE_F32, m.shape({W, H, C, 1}));
  const uint32_t ks = m.shape({K, K, C, O});
  const uint32_t k = m.weight_leaf(m.weight_slot("kernel", ks, GGML_TYPE_F32), GGML_TYPE_F32, ks);
  const uint32_t columns =
      m.n(fb::CreateIm2col(m.b, 1, 1, 1, 1, 1, 1, true), {k, x}, GGML_TYPE_F32, m.shape({K * K * C, W, H, 1}));
  const uint32_t flat = m.n(fb::CreateReshape(m.b), {columns}, GGML_TYPE_F32, m.shape({K * K * C, W * H, 1, 1}));
  const uint32_t k2 = m.n(fb::CreateReshape(m.b), {k}, GGML_TYPE_F32, m.shape({K * K * C, O, 1, 1}));
  m.output(m.n(fb::CreateMulMat(m.b), {flat, k2}, GGML_TYPE_F32, m.shape({W * H, O, 1, 1})), {1, O, H, W});
  const uint32_t ds = m.shape({K, K, 1, C});
  const uint32_t d = m.weight_leaf(m.weight_slot("dw", ds, GGML_TYPE_F32), GGML_TYPE_F32, ds);
  m.output(m.n(fb::CreateConv2dDw(m.b, 2, 2, 0, 0, 1, 1), {d, x}, GGML_TYPE_F32, m.shape({2, 2, C, 1})), {1, C, 2, 2});
  m.output(m.n(fb::CreatePool2d(m.b, fb::PoolKind_Max, 2, 2, 2, 2, 0, 0), {x}, GGML_TYPE_F32, m.shape({3, 2, C, 1})),
           {1, C, 2, 3});
  auto ir_graph = parse(m.finish());
  CHECK_OK(ir_graph.status());
  if (!ir_graph.ok()) return;
  Store store(**ir_graph);
  store.set_weight("kernel", GGML_TYPE_F32, kernel);
  store.set_weight("dw", GGML_TYPE_F32, dw);
  auto out = run(**ir_graph, store, {Arg::floats(dims, image)});
  CHECK_OK(out.status());
  if (!out.ok()) return;
  CHECK(nmse(out->values[0], want) < 1e-10);
  CHECK(nmse(out->values[1], want_dw) < 1e-10);
  CHECK(nmse(out->values[2], want_pool) < 1e-12);
}

/// An output that is a view of a value with later readers: the allocator must not reuse its memory.
void output_views_survive() {
  OneInput g({16}, {16, 1, 1, 1});
  Maker& m = g.m;
  const uint32_t half = m.shape({8, 1, 1, 1});
  const uint32_t a = m.n(fb::CreateScale(m.b, 2.0f, 0.0f), {g.x}, GGML_TYPE_F32, 0);
  const uint32_t v = m.view(a, GGML_TYPE_F32, half, {1, 8, 8, 8}, 8);
  uint32_t last = m.n(fb::CreateUnary(m.b, fb::UnaryKind_Neg), {v}, GGML_TYPE_F32, half);
  for (int i = 0; i < 20; ++i) last = m.n(fb::CreateScale(m.b, 1.0f, 1.0f), {last}, GGML_TYPE_F32, half);
  m.output(last, {8});
  const std::vector<float> data = noise(16, 71);
  std::vector<float> want;
  for (int i = 8; i < 16; ++i) want.push_back(2 * data[i]);
  m.output(v, {8});
  auto ir_graph = parse(m.finish());
  CHECK_OK(ir_graph.status());
  if (!ir_graph.ok()) return;
  Store store(**ir_graph);
  auto out = run(**ir_graph, store, {Arg::floats({16}, data)});
  CHECK_OK(out.status());
  if (out.ok()) CHECK(nmse(out->values[1], want) < 1e-12);
}

/// ggml has no order of its own here: the graph keeps the IR's, and leaves out what nothing needs.
void order_and_dead_nodes() {
  OneInput g({4}, {4, 1, 1, 1});
  g.m.n(fb::CreateUnary(g.m.b, fb::UnaryKind_Exp), {g.x}, GGML_TYPE_F32, 0);  // dead
  const uint32_t y = g.m.n(fb::CreateUnary(g.m.b, fb::UnaryKind_Neg), {g.x}, GGML_TYPE_F32, 0);
  g.m.output(y, {4});
  auto ir_graph = parse(g.m.finish());
  CHECK_OK(ir_graph.status());
  if (!ir_graph.ok()) return;
  Store store(**ir_graph);
  auto out = run(**ir_graph, store, {Arg::floats({4}, {1, 2, 3, 4})});
  CHECK_OK(out.status());
  if (out.ok()) CHECK(out->nodes == 1);
}

/// Many values alive at once: refused before ggml's allocator would give up on the process; fewer run.
void many_alive() {
  for (const int width : {200, 400}) {
    OneInput g({8}, {8, 1, 1, 1});
    Maker& m = g.m;
    std::vector<uint32_t> parts;
    for (int i = 0; i < width; ++i) parts.push_back(m.n(fb::CreateScale(m.b, float(i), 1.0f), {g.x}, GGML_TYPE_F32, 0));
    uint32_t sum = parts[0];
    for (int i = 1; i < width; ++i) {  // every other one first, so that the survivors are far apart
      const int at = 2 * i < width ? 2 * i : 2 * i - width + (width % 2 == 0);
      sum = m.n(fb::CreateBinary(m.b, fb::BinaryKind_Add), {sum, parts[at]}, GGML_TYPE_F32, 0);
    }
    m.output(sum, {8});
    auto ir_graph = parse(m.finish());
    CHECK_OK(ir_graph.status());
    if (!ir_graph.ok()) return;
    Store store(**ir_graph);
    auto out = run(**ir_graph, store, {Arg::floats({8}, std::vector<float>(8, 1.0f))});
    if (width == 200) {
      CHECK_OK(out.status());
      if (out.ok()) CHECK(out->values[0][0] == 199 * 200 / 2 + 200);
    } else {
      CHECK(out.status().code == ETGGML_UNSUPPORTED && out.status().message.find("alive") != std::string::npos);
    }
  }
}

/// With a lower bound of 0 a call may have no elements there. Derived dimensions are solved for.
void derived_dimensions() {
  Maker m;
  const uint32_t in = m.input("x", F32, {-2, 3});  // 2 * n rows
  const uint32_t n = m.symbol_from_dim("n", 1, 5, in, 0), t = m.symbol_from_dim("t", 0, 6, m.input("y", F32, {-3}), 0);
  const int64_t rows = m.symbol_dim(n);
  CHECK(m.expr({{fb::ExprCode_Symbol, n}, {fb::ExprCode_Const, 2}, {fb::ExprCode_Mul, 0}}) == -2);
  const int64_t length = m.symbol_dim(t);
  const uint32_t x = m.input_leaf(in, GGML_TYPE_F32, m.shape({3, -2, 1, 1}));
  const uint32_t pairs = m.n(fb::CreateReshape(m.b), {x}, GGML_TYPE_F32, m.shape({6, rows, 1, 1}));
  m.output(m.n(fb::CreateSumRows(m.b), {pairs}, GGML_TYPE_F32, m.shape({1, rows, 1, 1})), {rows, 1});
  m.output(m.n(fb::CreateScale(m.b, 2, 0), {m.input_leaf(1, GGML_TYPE_F32, m.shape({length, 1, 1, 1}))}, GGML_TYPE_F32,
               m.shape({length, 1, 1, 1})),
           {length});
  auto ir_graph = parse(m.finish());
  CHECK_OK(ir_graph.status());
  if (!ir_graph.ok()) return;
  Store store(**ir_graph);
  auto call = [&](int64_t r, int64_t l) {
    return run(**ir_graph, store,
               {Arg::floats({r, 3}, std::vector<float>(r * 3, 1)), Arg::floats({l}, std::vector<float>(l, 1))});
  };
  auto out = call(8, 1);
  CHECK_OK(out.status());
  if (out.ok()) CHECK(out->values[0] == std::vector<float>(4, 6.0f) && out->values[1] == std::vector<float>{2});
  Status odd = call(7, 1).status();
  CHECK(odd.code == ETGGML_SHAPE && odd.message.find("2..10 in steps of 2") != std::string::npos);
  CHECK(call(12, 1).status().code == ETGGML_SHAPE);
  CHECK(call(8, 7).status().code == ETGGML_SHAPE);
  // The engine builds such a call for 1 (ir::Graph::stand_in); the table alone has no tensors without elements.
  Status empty = call(8, 0).status();
  CHECK(empty.code == ETGGML_SHAPE && empty.message.find("1..6") != std::string::npos);
}

struct Case {
  const char* name;
  void (*run)();
};

}  // namespace

int main() {
  const Case cases[] = {{"unary", unary},
                        {"scalar_parameters", scalar_parameters},
                        {"computed_rows", computed_rows},
                        {"binary_broadcast", binary_broadcast},
                        {"gated", gated},
                        {"norms", norms},
                        {"linear", linear},
                        {"experts", experts},
                        {"movement", movement},
                        {"reductions", reductions},
                        {"softmax_with_bool_mask", softmax_with_bool_mask},
                        {"convolution", convolution},
                        {"output_views_survive", output_views_survive},
                        {"order_and_dead_nodes", order_and_dead_nodes},
                        {"many_alive", many_alive},
                        {"derived_dimensions", derived_dimensions}};
  for (const Case& c : cases) {
    current = c.name;
    c.run();
  }
  std::printf("%d failures\n", failures);
  return failures != 0;
}
