// Token ids to attention over a growing cache: symbols from shapes and values, states, rope, masks, ranges.
#include <algorithm>

#include "ir/boundary.h"
#include "ir_run.h"

using namespace irtest;

namespace {

constexpr int D = 32, H = 4, KV = 2, E = H * D, V = 10, S = 64, MAX_T = 8;

struct Options {
  fb::RopeMode mode = fb::RopeMode_Neox;
  int n_dims = D;
  uint32_t window = 0;
  bool factors = false;
  int64_t round_to = 32;
};

/// ids, positions -> attention of q = rope(x), k = rope(x[:, :64]), v = x[:, 64:128] with x = table[ids].
std::vector<uint8_t> payload(const Options& o) {
  Maker m;
  const uint32_t ids_in = m.input("input_ids", I64, {1, -1}), pos_in = m.input("cache_pos", I64, {-1});
  const int64_t T = m.symbol_dim(m.symbol_from_dim("T", 1, MAX_T, ids_in, 1));
  const int64_t L = m.symbol_dim(m.symbol_from_max("kv_len", 1, S, pos_in, 1, o.round_to));
  const uint32_t row = m.shape({T, 1, 1, 1});
  const uint32_t ids = m.input_leaf(ids_in, GGML_TYPE_I32, row);
  const uint32_t pos = m.input_leaf(pos_in, GGML_TYPE_I32, row);
  const uint32_t where = m.input_leaf(pos_in, GGML_TYPE_I64, row);
  const uint32_t mask = m.n(fb::CreateCausalMask(m.b, o.window), {pos}, GGML_TYPE_F16, m.shape({L, T, 1, 1}));
  const uint32_t table_shape = m.shape({E, V, 1, 1});
  const uint32_t table = m.weight_leaf(m.weight_slot("token_embd.weight", table_shape), 255, table_shape);
  const uint32_t x = m.n(fb::CreateGetRows(m.b), {table, ids}, GGML_TYPE_F32, m.shape({E, T, 1, 1}));
  const uint32_t q_shape = m.shape({D, H, T, 1}), k_shape = m.shape({D, KV, T, 1});
  const uint32_t q0 = m.n(fb::CreateReshape(m.b), {x}, GGML_TYPE_F32, q_shape);
  const uint32_t k0 = m.view(x, GGML_TYPE_F32, k_shape, {1, D, E, E}, 0);
  auto rope = [&](uint32_t v, uint32_t shape, std::vector<uint32_t> src) {
    src.insert(src.begin(), v);
    return m.n(fb::CreateRope(m.b, o.n_dims, o.mode, 4096, 10000.0f), src, GGML_TYPE_F32, shape);
  };
  std::vector<uint32_t> rest{pos};
  if (o.factors) {
    const uint32_t fs = m.shape({o.n_dims / 2, 1, 1, 1});
    std::vector<float> values(o.n_dims / 2);
    for (size_t i = 0; i < values.size(); ++i) values[i] = 1.0f + 0.25f * float(i);
    rest.push_back(m.const_leaf(m.constant(fs, GGML_TYPE_F32, values), GGML_TYPE_F32, fs));
  }
  const uint32_t q = rope(q0, q_shape, rest), k = rope(k0, k_shape, rest);
  const uint32_t flat = m.shape({D * KV, T, 1, 1}), cache = m.shape({D * KV, S, 1, 1});
  const uint32_t k2 = m.n(fb::CreateReshape(m.b), {k}, GGML_TYPE_F32, flat);
  const uint32_t v2 = m.view(x, GGML_TYPE_F32, flat, {1, E, E, E}, D * KV);
  const uint32_t k_slot = m.state_slot("k_cache", cache, GGML_TYPE_F16, fb::StateKind_KvCache);
  const uint32_t v_slot = m.state_slot("v_cache", cache, GGML_TYPE_F16, fb::StateKind_KvCache);
  const uint32_t k_state = m.state_leaf(k_slot, GGML_TYPE_F16, cache),
                 v_state = m.state_leaf(v_slot, GGML_TYPE_F16, cache);
  const uint32_t k_new = m.n(fb::CreateSetRows(m.b), {k_state, k2, where}, GGML_TYPE_F16, cache);
  const uint32_t v_new = m.n(fb::CreateSetRows(m.b), {v_state, v2, where}, GGML_TYPE_F16, cache);
  const uint32_t filled = m.shape({D, L, KV, 1});
  const uint32_t keys = m.view(k_new, GGML_TYPE_F16, filled, {1, D * KV, D, D * KV * S}, 0);
  const uint32_t values = m.view(v_new, GGML_TYPE_F16, filled, {1, D * KV, D, D * KV * S}, 0);
  const uint32_t queries = m.permute(q, GGML_TYPE_F32, m.shape({D, T, H, 1}), {0, 2, 1, 3});
  const float scale = 1.0f / std::sqrt(float(D));
  m.output(m.n(fb::CreateFlashAttn(m.b, scale), {queries, keys, values, mask}, GGML_TYPE_F32, q_shape), {1, T, H, D});
  return m.finish();
}

std::vector<float> rotate(const Options& o, const float* x, int64_t position) {
  std::vector<float> y(x, x + D);
  for (int i = 0; i < o.n_dims / 2; ++i) {
    const double factor = o.factors ? 1.0 + 0.25 * i : 1.0;
    const double angle = double(position) * std::pow(10000.0, -2.0 * i / o.n_dims) / factor;
    const int a = o.mode == fb::RopeMode_Neox ? i : 2 * i;
    const int b = o.mode == fb::RopeMode_Neox ? i + o.n_dims / 2 : 2 * i + 1;
    y[a] = float(x[a] * std::cos(angle) - x[b] * std::sin(angle));
    y[b] = float(x[a] * std::sin(angle) + x[b] * std::cos(angle));
  }
  return y;
}

/// The definition, over the whole sequence at once: [tokens, H, D].
std::vector<float> reference(const Options& o, const std::vector<float>& table, const std::vector<int64_t>& ids) {
  const int n = static_cast<int>(ids.size());
  std::vector<float> out;
  for (int t = 0; t < n; ++t) {
    for (int h = 0; h < H; ++h) {
      const std::vector<float> q = rotate(o, &table[ids[t] * E + h * D], t);
      std::vector<double> weight(n, 0), sum(D, 0);
      double total = 0;
      for (int j = 0; j <= t; ++j) {
        if (o.window && t - j >= static_cast<int>(o.window)) continue;
        const std::vector<float> k = rotate(o, &table[ids[j] * E + h / (H / KV) * D], j);
        double dot = 0;
        for (int d = 0; d < D; ++d) dot += double(q[d]) * k[d];
        total += weight[j] = std::exp(dot / std::sqrt(double(D)));
      }
      for (int j = 0; j <= t; ++j) {
        const float* v = &table[ids[j] * E + D * KV + h / (H / KV) * D];
        for (int d = 0; d < D; ++d) sum[d] += weight[j] / total * v[d];
      }
      for (int d = 0; d < D; ++d) out.push_back(static_cast<float>(sum[d]));
    }
  }
  return out;
}

std::vector<Arg> step(const std::vector<int64_t>& ids, size_t from, size_t n) {
  std::vector<int64_t> part(ids.begin() + from, ids.begin() + from + n), positions;
  for (size_t i = 0; i < n; ++i) positions.push_back(static_cast<int64_t>(from + i));
  return {Arg::longs({1, int64_t(n)}, part), Arg::longs({int64_t(n)}, positions)};
}

void generation(const Options& o, ggml_type cache, double bound) {
  auto ir_graph = parse(payload(o));
  CHECK_OK(ir_graph.status());
  if (!ir_graph.ok()) return;
  const std::vector<float> table = noise(E * V, 5);
  const std::vector<int64_t> ids{1, 2, 3, 4, 5, 9, 0, 7, 3, 3, 8, 1, 6};
  Store store(**ir_graph);
  store.cache_type = cache;
  store.set_weight("token_embd.weight", GGML_TYPE_F32, table);
  std::vector<float> got;
  size_t at = 0;
  for (size_t n : {size_t{5}, size_t{1}, size_t{1}, size_t{4}, size_t{2}}) {
    auto out = run(**ir_graph, store, step(ids, at, n));
    CHECK_OK(out.status());
    if (!out.ok()) return;
    got.insert(got.end(), out->values[0].begin(), out->values[0].end());
    at += n;
  }
  const double e = nmse(got, reference(o, table, ids));
  if (!(e < bound)) std::printf("cache %s: nmse %g\n", ggml_type_name(cache), e);
  CHECK(e < bound);
}

void errors() {
  auto ir_graph = parse(payload({}));
  CHECK_OK(ir_graph.status());
  if (!ir_graph.ok()) return;
  Store store(**ir_graph);
  store.set_weight("token_embd.weight", GGML_TYPE_Q8_0, noise(E * V, 5));
  auto expect = [&](etggml_status code, const char* text, std::vector<Arg> args) {
    auto out = run(**ir_graph, store, args);
    if (out.status().code != code || out.status().message.find(text) == std::string::npos) {
      std::printf("expected %d and \"%s\", got %d: %s\n", code, text, out.status().code, out.status().message.c_str());
      ++failures;
    }
  };
  expect(ETGGML_OK, "", {Arg::longs({1, 2}, {1, 2}), Arg::longs({2}, {0, 1})});
  expect(ETGGML_RANGE, "'cache_pos': element 1 is 64, beyond the last position 63",
         {Arg::longs({1, 2}, {1, 2}), Arg::longs({2}, {0, 64})});
  expect(ETGGML_RANGE, "'cache_pos': element 0 is -1", {Arg::longs({1, 2}, {1, 2}), Arg::longs({2}, {-1, 1})});
  expect(ETGGML_RANGE, "'cache_pos'", {Arg::longs({1, 1}, {1}), Arg::longs({1}, {INT64_MAX})});
  expect(ETGGML_RANGE, "'input_ids': element 1 is 10, outside 0..9",
         {Arg::longs({1, 2}, {1, 10}), Arg::longs({2}, {0, 1})});
  expect(ETGGML_RANGE, "'input_ids': element 0 is -3", {Arg::longs({1, 2}, {-3, 1}), Arg::longs({2}, {0, 1})});
  expect(ETGGML_SHAPE, "'input_ids' has shape [1, 9]: dimension 1 is 9, this graph accepts 1..8",
         {Arg::longs({1, 9}, std::vector<int64_t>(9, 1)), Arg::longs({9}, std::vector<int64_t>(9, 1))});
  expect(ETGGML_SHAPE, "'input_ids' has shape [1, 0]", {Arg::longs({1, 0}, {}), Arg::longs({0}, {})});
  expect(ETGGML_SHAPE, "'input_ids' has 1 dimensions, expected 2", {Arg::longs({2}, {1, 2}), Arg::longs({2}, {0, 1})});
  expect(ETGGML_SHAPE, "'input_ids' has shape [2, 2], expected [1, 2]: dimension 0 is 2 instead of 1",
         {Arg::longs({2, 2}, {1, 2, 3, 4}), Arg::longs({2}, {0, 1})});
  expect(ETGGML_SHAPE, "'cache_pos' has shape [3], expected [2]",
         {Arg::longs({1, 2}, {1, 2}), Arg::longs({3}, {0, 1, 2})});
  expect(ETGGML_DTYPE, "'input_ids' is int32, expected int64",
         {Arg::of<int32_t>(I32, {1, 2}, {1, 2}), Arg::longs({2}, {0, 1})});
  expect(ETGGML_INVALID_ARGUMENT, "1 inputs given, 2 expected", {Arg::longs({1, 2}, {1, 2})});
  Arg scalar = Arg::of<int64_t>(I64, {}, {3});
  scalar.kind = fb::InputKind_Int;
  expect(ETGGML_INVALID_ARGUMENT, "'cache_pos' is a int, expected a tensor", {Arg::longs({1, 2}, {1, 2}), scalar});
  // And it still works.
  expect(ETGGML_OK, "", {Arg::longs({1, 2}, {1, 2}), Arg::longs({2}, {0, 1})});
  // Cache types whose blocks are longer than a row of the cache, or than a head.
  for (ggml_type type : {GGML_TYPE_Q4_K, GGML_TYPE_Q2_0}) {
    Store blocks(**ir_graph);
    blocks.cache_type = type;
    Status status = run(**ir_graph, blocks, {Arg::longs({1, 1}, {1}), Arg::longs({1}, {0})}).status();
    CHECK(status.code == ETGGML_UNSUPPORTED && status.message.find(ggml_type_name(type)) != std::string::npos);
  }
}

void kv_len_rounding() {
  auto ir_graph = parse(payload({}));
  CHECK_OK(ir_graph.status());
  if (!ir_graph.ok()) return;
  const struct {
    int64_t position, default_round;
    int64_t want;
  } cases[] = {{0, 1, 32}, {31, 1, 32}, {32, 1, 64}, {63, 1, 64}};
  for (const auto& c : cases) {
    const Arg ids = Arg::longs({1, 1}, {1}), pos = Arg::longs({1}, {c.position});
    const InputView views[] = {ids.view(), pos.view()};
    auto symbols = (*ir_graph)->bind(views, 2, c.default_round);
    CHECK_OK(symbols.status());
    if (symbols.ok()) CHECK((*symbols)[1] == c.want && (*symbols)[0] == 1);
  }
  Options free_choice;
  free_choice.round_to = 0;
  auto other = parse(payload(free_choice));
  CHECK_OK(other.status());
  if (!other.ok()) return;
  const Arg ids = Arg::longs({1, 1}, {1}), pos = Arg::longs({1}, {17});
  const InputView views[] = {ids.view(), pos.view()};
  for (const auto& want : std::vector<std::pair<int64_t, int64_t>>{{1, 18}, {8, 24}, {256, 64}, {INT64_MAX, 64}}) {
    auto symbols = (*other)->bind(views, 2, want.first);
    CHECK_OK(symbols.status());
    if (symbols.ok()) CHECK((*symbols)[1] == want.second);
  }
}

void mask_contents() {
  const std::vector<int64_t> positions{-5, 0, 3, 6, 100, INT64_MAX, INT64_MIN};
  for (int64_t window : {0, 1, 2, 50}) {
    std::vector<uint16_t> mask(positions.size() * 7, 1);
    etggml::graph::fill_causal_mask(positions.data(), I64, int64_t(positions.size()), 7, window, mask.data());
    for (size_t i = 0; i < positions.size(); ++i) {
      for (int64_t j = 0; j < 7; ++j) {
        const bool visible = j <= positions[i] && (window == 0 || static_cast<__int128>(positions[i]) - j < window);
        CHECK(mask[i * 7 + j] == (visible ? 0 : 0xfc00));
      }
    }
  }
}

void conversions() {
  const std::vector<double> doubles{1.5, -2.25, 1e5};
  float floats[3];
  CHECK_OK(etggml::graph::convert(F64, doubles.data(), 3, GGML_TYPE_F32, false, INT64_MAX, "x", floats));
  CHECK(floats[0] == 1.5f && floats[1] == -2.25f && floats[2] == 1e5f);
  const std::vector<int64_t> longs{1, INT64_C(1) << 31, 2};
  int32_t ints[3];
  Status status = etggml::graph::convert(I64, longs.data(), 3, GGML_TYPE_I32, false, INT64_MAX, "x", ints);
  CHECK(status.code == ETGGML_RANGE && status.message.find("element 1 is 2147483648") != std::string::npos);
  const std::vector<uint8_t> bools{0, 1, 2};
  CHECK_OK(etggml::graph::convert(BOOL, bools.data(), 3, GGML_TYPE_F32, false, INT64_MAX, "x", floats));
  CHECK(floats[0] == 0 && floats[1] == 1 && floats[2] == 1);
  CHECK_OK(etggml::graph::convert(BOOL, bools.data(), 3, GGML_TYPE_F32, true, INT64_MAX, "x", floats));
  CHECK(std::isinf(floats[0]) && floats[0] < 0 && floats[1] == 0 && floats[2] == 0);
  const std::vector<ggml_fp16_t> halves{ggml_fp32_to_fp16(0.5f), ggml_fp32_to_fp16(-3), 0};
  CHECK_OK(etggml::graph::convert(F16, halves.data(), 3, GGML_TYPE_F32, false, INT64_MAX, "x", floats));
  CHECK(floats[0] == 0.5f && floats[1] == -3 && floats[2] == 0);
  CHECK(!etggml::ir::can_convert(F32, GGML_TYPE_I32, false));
  CHECK(!etggml::ir::can_convert(F32, GGML_TYPE_F16, true));
  CHECK(!etggml::ir::can_convert(F32, GGML_TYPE_Q8_0, false));
  CHECK(!etggml::ir::can_convert(9, GGML_TYPE_F32, false));
}

/// Kernels are asked about every product once its preconditions hold, and may decline.
struct Declining final : etggml::kernels::Kernels {
  int calls = 0;
  ggml_tensor* mul_mat(ggml_context*, ggml_tensor*, ggml_tensor*) override {
    ++calls;
    return nullptr;
  }
};

void hook() {
  Maker m;
  const uint32_t xs = m.shape({4, 1, 1, 1}), ws = m.shape({4, 2, 1, 1});
  const uint32_t x = m.input_leaf(m.input("x", F32, {4}), GGML_TYPE_F32, xs);
  const uint32_t w = m.weight_leaf(m.weight_slot("w", ws), 255, ws);
  m.output(m.n(fb::CreateMulMat(m.b), {w, x}, GGML_TYPE_F32, m.shape({2, 1, 1, 1})), {2});
  auto ir_graph = parse(m.finish());
  CHECK_OK(ir_graph.status());
  if (!ir_graph.ok()) return;
  Store store(**ir_graph);
  Declining seen;
  etggml::graph::BuildOptions options;
  options.kernels = &seen;
  CHECK_OK(run(**ir_graph, store, {Arg::floats({4}, {1, 2, 3, 4})}, options).status());
  CHECK(seen.calls == 1);
}

}  // namespace

int main() {
  current = "generation";
  Options o;
  generation(o, GGML_TYPE_F32, 1e-9);
  generation(o, GGML_TYPE_F16, 1e-5);
  generation(o, GGML_TYPE_BF16, 1e-4);
  generation(o, GGML_TYPE_Q8_0, 1e-3);
  o.mode = fb::RopeMode_Norm;
  generation(o, GGML_TYPE_F32, 1e-9);
  o.window = 3;
  generation(o, GGML_TYPE_F32, 1e-9);
  o = Options();
  o.n_dims = 16;  // partial rotary with factors shorter than half a row
  o.factors = true;
  o.round_to = 0;
  generation(o, GGML_TYPE_F32, 1e-9);
  current = "errors";
  errors();
  current = "kv_len_rounding";
  kv_len_rounding();
  current = "mask_contents";
  mask_contents();
  current = "conversions";
  conversions();
  current = "hook";
  hook();
  std::printf("%d failures\n", failures);
  return failures != 0;
}
