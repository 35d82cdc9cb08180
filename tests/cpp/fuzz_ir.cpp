// Damaged payloads: whatever the bytes, parsing, building, filling and computing end with a result or a Status; never a
// crash, a hang, or one of ggml's asserts. Runs a fixed set of mutations of one payload that uses every family of ops.
#include "ir_run.h"
#include "kernels/cpu_kernels.h"

using namespace irtest;

namespace {

std::vector<uint8_t> seed_payload() {
  Maker m;
  const uint32_t ids_in = m.input("ids", I64, {1, -1}), pos_in = m.input("pos", I64, {-1}),
                 img_in = m.input("image", F32, {1, 2, 6, 6});
  const uint32_t flag_in = m.input("keep", BOOL, {-1, 8});
  const int64_t T = m.symbol_dim(m.symbol_from_dim("T", 1, 3, ids_in, 1));
  const int64_t L = m.symbol_dim(m.symbol_from_max("L", 1, 16, pos_in, 1, 4));
  const int64_t T2 = m.expr({{fb::ExprCode_Symbol, 0}, {fb::ExprCode_Const, 2}, {fb::ExprCode_Mul, 0}});
  constexpr int F = GGML_TYPE_F32;
  const uint32_t row = m.shape({T, 1, 1, 1}), e = m.shape({64, T, 1, 1}), table_shape = m.shape({64, 7, 1, 1});
  const uint32_t ids = m.input_leaf(ids_in, GGML_TYPE_I32, row), pos = m.input_leaf(pos_in, GGML_TYPE_I32, row);
  const uint32_t where = m.input_leaf(pos_in, GGML_TYPE_I64, row);
  const uint32_t mask = m.n(fb::CreateCausalMask(m.b, 5), {pos}, GGML_TYPE_F16, m.shape({L, T, 1, 1}));
  const uint32_t table = m.weight_leaf(m.weight_slot("token_embd.weight", table_shape), 255, table_shape);
  const uint32_t x = m.n(fb::CreateGetRows(m.b), {table, ids}, F, e);
  const uint32_t h = m.n(fb::CreateRmsNorm(m.b, 1e-6f), {x}, F, e);
  const uint32_t heads = m.shape({16, 4, T, 1});
  const uint32_t q = m.n(fb::CreateRope(m.b, 16, fb::RopeMode_Neox, 64, 1e4f),
                         {m.n(fb::CreateReshape(m.b), {h}, F, heads), pos}, F, heads);
  const uint32_t cache = m.shape({64, 16, 1, 1});
  const uint32_t k = m.n(
      fb::CreateSetRows(m.b),
      {m.state_leaf(m.state_slot("k", cache, GGML_TYPE_F16, fb::StateKind_KvCache), GGML_TYPE_F16, cache), h, where},
      GGML_TYPE_F16, cache);
  const uint32_t filled = m.shape({16, L, 4, 1});
  const uint32_t keys = m.view(k, GGML_TYPE_F16, filled, {1, 64, 16, 1024}, 0);
  const uint32_t qp = m.permute(q, F, m.shape({16, T, 4, 1}), {0, 2, 1, 3});
  const uint32_t attn = m.n(fb::CreateFlashAttn(m.b, 0.25f), {qp, keys, keys, mask}, F, heads);
  const uint32_t flat = m.n(fb::CreateReshape(m.b), {attn}, F, e);
  const uint32_t sum = m.n(fb::CreateBinary(m.b, fb::BinaryKind_Add), {flat, x}, F, e);
  const uint32_t glu = m.n(fb::CreateGlu(m.b, fb::GluKind_Swiglu), {sum}, F, m.shape({32, T, 1, 1}));
  const uint32_t w_shape = m.shape({32, 8, 1, 1});
  const uint32_t bias_shape = m.shape({8, 1, 1, 1});
  const uint32_t bias = m.const_leaf(m.constant(bias_shape, F, std::vector<float>(8, 0.5f)), F, bias_shape);
  const uint32_t scores =
      m.n(fb::CreateMulMat(m.b, fb::CreateEpilogue(m.b, fb::Activation_GeluTanh, -1.0f, 1.0f)),
          {m.weight_leaf(m.weight_slot("w", w_shape), 255, w_shape), glu, bias}, F, m.shape({8, T, 1, 1}));
  const uint32_t keep = m.input_leaf(flag_in, F, m.shape({8, T, 1, 1}), true);
  const uint32_t soft = m.n(fb::CreateSoftMax(m.b, 1.0f), {scores, keep}, F, m.shape({8, T, 1, 1}));
  const uint32_t top = m.n(fb::CreateTopK(m.b, 2), {soft}, GGML_TYPE_I32, m.shape({2, T, 1, 1}));
  const uint32_t ex_shape = m.shape({64, 4, 8, 1});
  const uint32_t moe = m.n(fb::CreateMulMatId(m.b),
                           {m.weight_leaf(m.weight_slot("experts", ex_shape), 255, ex_shape),
                            m.n(fb::CreateReshape(m.b), {sum}, F, m.shape({64, 1, T, 1})), top},
                           F, m.shape({4, 2, T, 1}));
  m.output(moe, {T, 2, 4});
  const uint32_t joined = m.n(fb::CreateConcat(m.b, 1), {sum, h}, F, m.shape({64, T2, 1, 1}));
  m.output(m.n(fb::CreateMean(m.b), {joined}, F, m.shape({1, T2, 1, 1})), {T2, 1});
  const uint32_t image = m.input_leaf(img_in, F, m.shape({6, 6, 2, 1}));
  const uint32_t kernel_shape = m.shape({3, 3, 1, 2});
  const uint32_t kernel = m.const_leaf(m.constant(kernel_shape, F, std::vector<float>(18, 0.5f)), F, kernel_shape);
  const uint32_t conv = m.n(fb::CreateConv2dDw(m.b, 1, 1, 1, 1, 1, 1), {kernel, image}, F, m.shape({6, 6, 2, 1}));
  const uint32_t dense_shape = m.shape({3, 2, 2, 2});
  const uint32_t dense = m.const_leaf(m.constant(dense_shape, F, std::vector<float>(24, 0.25f)), F, dense_shape);
  const uint32_t product = m.n(fb::CreateConv2d(m.b, 1, 1, 1, 1, 1, 2, fb::CreateEpilogue(m.b, fb::Activation_Silu)),
                               {dense, conv}, F, m.shape({6, 6, 2, 1}));
  const uint32_t windows = m.n(fb::CreateConv2d(m.b, 1, 1, 1, 1, 1, 1), {kernel, product}, F, m.shape({6, 6, 2, 1}));
  const uint32_t pool = m.n(fb::CreatePool2d(m.b, fb::PoolKind_Avg, 2, 2, 2, 2), {windows}, F, m.shape({3, 3, 2, 1}));
  std::vector<int32_t> before{1, 0, 0, 0}, after{0, 1, 0, 0};
  const uint32_t pad =
      m.n(fb::CreatePad(m.b, m.b.CreateVector(before), m.b.CreateVector(after)), {pool}, F, m.shape({4, 4, 2, 1}));
  const uint32_t columns =
      m.n(fb::CreateIm2col(m.b, 1, 1, 0, 0, 1, 1, true),
          {m.n(fb::CreateReshape(m.b), {kernel}, F, m.shape({3, 3, 2, 1})), pad}, F, m.shape({18, 2, 2, 1}));
  const uint32_t act = m.n(fb::CreateUnary(m.b, fb::UnaryKind_Silu), {columns}, F, m.shape({18, 2, 2, 1}));
  const uint32_t recurrent = m.n(fb::CreateFill(m.b, 0.5f), {}, F, m.shape({3, 12, 1, 1}));
  const uint32_t gates = m.n(fb::CreateFill(m.b, 0.1f), {}, F, m.shape({12, 2, 2, 1}));
  const uint32_t offset = m.n(fb::CreateFill(m.b, 0.0f), {}, F, m.shape({12, 1, 1, 1}));
  const uint32_t first = m.n(fb::CreateFill(m.b, 1.0f), {}, F, m.shape({3, 2, 1, 1}));
  const uint32_t steps = m.n(fb::CreateRecurrence(m.b, fb::Cell_Lstm, true), {recurrent, gates, offset, first, first},
                             F, m.shape({3, 2, 3, 1}));
  m.output(m.n(fb::CreateUnary(m.b, fb::UnaryKind_Tanh), {steps}, F, m.shape({3, 2, 3, 1})), {3, 2, 3});
  const uint32_t half = m.n(fb::CreateCast(m.b), {act}, GGML_TYPE_F16, m.shape({18, 2, 2, 1}));
  const uint32_t rep = m.n(fb::CreateRepeat(m.b), {half}, GGML_TYPE_F16, m.shape({18, 2, 2, 3}));
  m.output(m.n(fb::CreateCont(m.b), {m.permute(rep, GGML_TYPE_F16, m.shape({2, 18, 2, 3}), {1, 0, 2, 3})},
               GGML_TYPE_F16, m.shape({2, 18, 2, 3})),
           {3, 2, 18, 2});
  return m.finish();
}

struct Tally {
  size_t tried = 0, parsed = 0, built = 0;
  std::string last;
};

constexpr int64_t kMaxStored = 1 << 18;
constexpr size_t kMaxBytes = 8 << 20;

/// The sum of what the slots would take; saturates.
int64_t stored_elements(const Graph& p) {
  int64_t total = 0;
  auto add = [&](uint32_t shape) {
    int64_t n = 1;
    for (int64_t d : p.shape(shape, p.lower_bounds())) n = n > kMaxStored || d > kMaxStored ? kMaxStored + 1 : n * d;
    total += std::min<int64_t>(n, kMaxStored + 1);
  };
  for (uint32_t i = 0; i < p.weight_count(); ++i) add(p.payload().weights()->Get(i)->shape());
  for (uint32_t i = 0; i < p.state_count(); ++i) add(p.payload().states()->Get(i)->shape());
  return total;
}

void execute(const Graph& p, const std::vector<int64_t>& symbols, int value, Tally* tally) {
  std::vector<std::vector<int64_t>> dims;
  std::vector<std::vector<uint8_t>> data;
  std::vector<InputView> views;
  for (uint32_t i = 0; i < p.input_count(); ++i) {
    const fb::Input& in = *p.payload().inputs()->Get(i);
    dims.push_back(p.dims(in.dims(), symbols));
    int64_t n = 1;
    for (int64_t d : dims.back()) n = d < 1 || d > kMaxStored || n > kMaxStored ? kMaxStored + 1 : n * d;
    if (n > kMaxStored) return;
    data.emplace_back(static_cast<size_t>(n) * 8, 0);
    for (size_t b = 0; b < data.back().size(); b += 8) data.back()[b] = static_cast<uint8_t>(value);
  }
  for (uint32_t i = 0; i < p.input_count(); ++i) {
    const fb::Input& in = *p.payload().inputs()->Get(i);
    views.push_back({in.kind(), in.dtype(), static_cast<int32_t>(dims[i].size()), dims[i].data(), data[i].data()});
  }
  (void)p.bind(views.data(), views.size(), 1);
  Store store(p);
  store.cache_type = value ? GGML_TYPE_BF16 : GGML_TYPE_F16;
  store.set_weight("w", value ? GGML_TYPE_Q4_0 : GGML_TYPE_F32, noise(256, 3));
  store.set_weight("token_embd.weight", value ? GGML_TYPE_Q8_0 : GGML_TYPE_BF16, noise(448, 4));
  static const etggml::kernels::CpuKernelSet set(nullptr, 1, "gemm,linear,conv,attention,unary,recurrence");
  etggml::kernels::CpuKernels kernels(set);
  etggml::graph::BuildOptions options;
  if (value) options.kernels = &kernels;
  auto out = run_at(p, store, symbols, views, options, kMaxBytes);
  tally->built += out.ok();
  if (!out.ok()) tally->last = out.status().message;
}

void one(const uint8_t* bytes, size_t size, Tally* tally) {
  ++tally->tried;
  // A copy of exact size, so that a sanitizer sees every byte read beyond it.
  std::unique_ptr<uint8_t[]> exact(new uint8_t[size ? size : 1]);
  std::copy(bytes, bytes + size, exact.get());
  auto ir_graph = Graph::parse(exact.get(), size, "fuzz", etggml::graph::field_checks());
  if (!ir_graph.ok()) {
    tally->last = ir_graph.status().message;
    if (tally->last.empty()) std::abort();
    return;
  }
  ++tally->parsed;
  if (stored_elements(**ir_graph) > kMaxStored) return;
  execute(**ir_graph, (*ir_graph)->lower_bounds(), 0, tally);
  execute(**ir_graph, (*ir_graph)->upper_bounds(), 1, tally);
}

}  // namespace

#ifdef ETGGML_LIBFUZZER
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static Tally tally;
  one(data, size, &tally);
  return 0;
}
extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t max_size, unsigned seed) {
  static const std::vector<uint8_t> good = seed_payload();
  if (size < 16 && good.size() <= max_size) {
    std::copy(good.begin(), good.end(), data);
    size = good.size();
  }
  for (int i = 0; i < 1 + static_cast<int>(seed % 3); ++i)
    data[(seed * 2654435761u + 97u * i) % size] ^= static_cast<uint8_t>(seed >> (8 * i) | 1);
  return size;
}
#else
int main() {
  const std::vector<uint8_t> good = seed_payload();
  Tally tally;
  one(good.data(), good.size(), &tally);
  if (tally.parsed != 1 || tally.built != 2) {
    std::printf("the seed itself does not run: %s\n", tally.last.c_str());
    return 1;
  }
  for (size_t n = 0; n < good.size(); ++n) one(good.data(), n, &tally);
  std::vector<uint8_t> bytes = good;
  for (size_t at = 0; at < good.size(); ++at) {
    for (uint8_t mask : {0x01, 0x04, 0x80, 0xff}) {
      bytes[at] = good[at] ^ mask;
      one(bytes.data(), bytes.size(), &tally);
    }
    bytes[at] = good[at];
  }
  uint32_t x = 20261121;
  auto random = [&] { return x ^= x << 13, x ^= x >> 17, x ^= x << 5; };
  const int64_t interesting[] = {0,  1,   -1,  2,       3,         4,         7,         8,        16,
                                 64, 255, 256, 1 << 16, INT32_MAX, INT32_MIN, INT64_MAX, INT64_MIN};
  for (int round = 0; round < 6000; ++round) {
    bytes = good;
    for (uint32_t edit = 0; edit <= random() % 3; ++edit) {
      const size_t width = 1u << (random() % 4);
      const size_t at = random() % (good.size() / width) * width;
      const int64_t value = interesting[random() % (sizeof(interesting) / sizeof(interesting[0]))];
      for (size_t b = 0; b < width && at + b < bytes.size(); ++b)
        bytes[at + b] = static_cast<uint8_t>(static_cast<uint64_t>(value) >> (8 * b));
    }
    one(bytes.data(), bytes.size(), &tally);
  }
  std::printf("%zu payloads of %zu bytes: %zu parsed, %zu runs\n", tally.tried, good.size(), tally.parsed, tally.built);
  // A fuzzer that never gets through, or always does, tests nothing.
  return tally.parsed < tally.tried / 50 || tally.parsed > tally.tried / 2 + tally.tried / 3;
}
#endif
