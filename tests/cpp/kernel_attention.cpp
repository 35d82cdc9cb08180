// Our attention kernel against the definition in double precision, for every way it can be asked.
#include "ir_run.h"
#include "kernels/attention.h"
#include "targets.h"

using namespace irtest;
using etggml::kernels::AttentionArgs;
using etggml::kernels::AttentionKernel;

namespace {

enum class Mask { none, causal, window, per_head, per_batch };

struct Setup {
  ggml_type type = GGML_TYPE_F16;
  int64_t dk = 64, dv = 64, queries = 1, positions = 100, heads = 4, kv_heads = 2, batch = 1;
  Mask mask = Mask::causal;
  float max_bias = 0, softcap = 0;
  bool sinks = false;
  bool poison = false;  // what no query may see is NaN
};

struct Tensors {
  ggml_context* ctx = ggml_init({64 * ggml_tensor_overhead() + 2 * ggml_graph_overhead(), nullptr, true});
  ggml_backend_buffer_t buffer = nullptr;
  ~Tensors() {
    ggml_backend_buffer_free(buffer);
    ggml_free(ctx);
  }
};

/// Is position s hidden from query t of head h (the mask), and what is added to its score?
float bias(const Setup& o, int64_t t, int64_t s, int64_t h, int64_t b) {
  const int64_t at = o.positions - o.queries + t - 3 * (o.positions > 40);  // the last rows are not filled yet
  switch (o.mask) {
    case Mask::none:
      return 0;
    case Mask::causal:
      return s <= at ? 0 : -INFINITY;
    case Mask::window:
      return s <= at && s > at - 20 ? 0 : -INFINITY;
    case Mask::per_head:
      return (s + h) % 5 == 0 ? -INFINITY : 0.25f * static_cast<float>((s + t + h) % 7) - 1;
    default:
      return s <= at - 2 * b ? 0.5f * static_cast<float>(s % 3) : -INFINITY;
  }
}

std::vector<float> reference(const Setup& o, const std::vector<float>& q, const std::vector<float>& k,
                             const std::vector<float>& v, const std::vector<float>& sinks, float scale) {
  std::vector<float> y(static_cast<size_t>(o.dv * o.heads * o.queries * o.batch));
  const double n = std::pow(2.0, std::floor(std::log2(static_cast<double>(o.heads))));
  for (int64_t b = 0; b < o.batch; ++b)
    for (int64_t h = 0; h < o.heads; ++h)
      for (int64_t t = 0; t < o.queries; ++t) {
        const int64_t kv = h / (o.heads / o.kv_heads);
        double slope = 1;
        if (o.max_bias > 0) {
          slope = double(h) < n ? std::pow(2.0, -o.max_bias / n * double(h + 1))
                                : std::pow(2.0, -o.max_bias / 2 / n * (2 * (double(h) - n) + 1));
        }
        std::vector<double> e(static_cast<size_t>(o.positions));
        double sum = o.sinks ? std::exp(double(sinks[size_t(h)])) : 0;
        for (int64_t s = 0; s < o.positions; ++s) {
          const double extra = bias(o, t, s, h, b);
          if (extra == -INFINITY) continue;
          double dot = 0;
          for (int64_t d = 0; d < o.dk; ++d) {
            dot += double(q[size_t(((b * o.heads + h) * o.queries + t) * o.dk + d)]) *
                   k[size_t(((b * o.positions + s) * o.kv_heads + kv) * o.dk + d)];
          }
          dot *= scale;
          if (o.softcap > 0) dot = o.softcap * std::tanh(dot / o.softcap);
          sum += e[size_t(s)] = std::exp(dot + slope * extra);
        }
        for (int64_t d = 0; d < o.dv; ++d) {
          double x = 0;
          for (int64_t s = 0; s < o.positions; ++s) {
            if (e[size_t(s)] != 0) x += e[size_t(s)] * v[size_t(((b * o.positions + s) * o.kv_heads + kv) * o.dv + d)];
          }
          y[size_t(((b * o.queries + t) * o.heads + h) * o.dv + d)] = sum == 0 ? 0 : float(x / sum);
        }
      }
  return y;
}

std::vector<float> cast(ggml_type type, std::vector<float> x) {
  if (type == GGML_TYPE_F16) {
    for (float& e : x) e = ggml_fp16_to_fp32(ggml_fp32_to_fp16(e));
  }
  return x;
}

void put(ggml_tensor* t, const std::vector<float>& x) {
  if (t->type == GGML_TYPE_F32) {
    ggml_backend_tensor_set(t, x.data(), 0, x.size() * 4);
  } else {
    std::vector<ggml_fp16_t> half(x.size());
    ggml_fp32_to_fp16_row(x.data(), half.data(), static_cast<int64_t>(x.size()));
    ggml_backend_tensor_set(t, half.data(), 0, half.size() * 2);
  }
}

void check(const Setup& o, const AttentionKernel& kernel, int compute_threads) {
  const float scale = 1.7f / std::sqrt(float(o.dk));
  auto q = noise(size_t(o.dk * o.queries * o.heads * o.batch), 1);
  auto k = cast(o.type, noise(size_t(o.dk * o.positions * o.kv_heads * o.batch), 2));
  auto v = cast(o.type, noise(size_t(o.dv * o.positions * o.kv_heads * o.batch), 3));
  const auto sinks = noise(size_t(o.heads), 4);
  const auto expected = reference(o, q, k, v, sinks, scale);
  const int64_t mask_heads = o.mask == Mask::per_head ? o.heads : 1,
                mask_batch = o.mask == Mask::per_batch ? o.batch : 1;
  std::vector<float> mask;
  for (int64_t b = 0; b < mask_batch; ++b)
    for (int64_t h = 0; h < mask_heads; ++h)
      for (int64_t t = 0; t < o.queries; ++t)
        for (int64_t s = 0; s < o.positions; ++s) mask.push_back(bias(o, t, s, h, b));
  for (int64_t s = 0; o.poison && s < o.positions; ++s) {
    bool seen = false;
    for (int64_t t = 0; t < o.queries; ++t) seen |= bias(o, t, s, 0, 0) != -INFINITY;
    for (int64_t b = 0; b < o.batch && !seen; ++b) {
      std::fill_n(k.begin() + (b * o.positions + s) * o.kv_heads * o.dk, o.kv_heads * o.dk, NAN);
      std::fill_n(v.begin() + (b * o.positions + s) * o.kv_heads * o.dv, o.kv_heads * o.dv, NAN);
    }
  }

  Tensors m;
  // Rows of a position hold all heads, as in a cache.
  ggml_tensor* kt = ggml_new_tensor_4d(m.ctx, o.type, o.dk, o.kv_heads, o.positions, o.batch);
  ggml_tensor* vt = ggml_new_tensor_4d(m.ctx, o.type, o.dv, o.kv_heads, o.positions, o.batch);
  ggml_tensor* qt = ggml_new_tensor_4d(m.ctx, GGML_TYPE_F32, o.dk, o.queries, o.heads, o.batch);
  ggml_tensor* mt = ggml_new_tensor_4d(m.ctx, GGML_TYPE_F16, o.positions, o.queries, mask_heads, mask_batch);
  ggml_tensor* st = ggml_new_tensor_1d(m.ctx, GGML_TYPE_F32, o.heads);
  AttentionArgs args{qt, ggml_permute(m.ctx, kt, 0, 2, 1, 3), ggml_permute(m.ctx, vt, 0, 2, 1, 3)};
  if (o.mask != Mask::none) args.mask = mt;
  if (o.sinks) args.sinks = st;
  args.scale = scale;
  args.max_bias = o.max_bias;
  args.softcap = o.softcap;
  ggml_tensor* y = etggml::kernels::attention(m.ctx, args, kernel);
  CHECK(y != nullptr);
  if (!y) return;
  ggml_cgraph* graph = ggml_new_graph(m.ctx);
  ggml_build_forward_expand(graph, y);
  m.buffer = ggml_backend_alloc_ctx_tensors(m.ctx, cpu_backend());
  put(kt, k), put(vt, v), put(qt, q), put(mt, mask), put(st, sinks);
  auto set_threads = reinterpret_cast<ggml_backend_set_n_threads_t>(ggml_backend_reg_get_proc_address(
      ggml_backend_dev_backend_reg(ggml_backend_get_device(cpu_backend())), "ggml_backend_set_n_threads"));
  set_threads(cpu_backend(), compute_threads);
  CHECK(ggml_backend_graph_compute(cpu_backend(), graph) == GGML_STATUS_SUCCESS);
  set_threads(cpu_backend(), 1);
  std::vector<float> got(expected.size());
  ggml_backend_tensor_get(y, got.data(), 0, got.size() * 4);
  const double e = nmse(got, expected);
  if (!(e < 1e-12)) {
    std::printf("%s d %d/%d T %d S %d H %d/%d B %d mask %d bias %g cap %g sinks %d threads %d: nmse %g\n",
                ggml_type_name(o.type), int(o.dk), int(o.dv), int(o.queries), int(o.positions), int(o.heads),
                int(o.kv_heads), int(o.batch), int(o.mask), o.max_bias, o.softcap, int(o.sinks), kernel.threads, e);
  }
  CHECK(e < 1e-12);
}

void check_all(const AttentionKernel& kernel, int threads) {
  auto with = [&](auto change) {
    Setup o;
    change(o);
    check(o, kernel, threads);
  };
  for (ggml_type type : {GGML_TYPE_F16, GGML_TYPE_F32}) {
    for (int64_t d : {16, 48, 80, 128, 256}) with([&](Setup& o) { o.type = type, o.dk = d, o.dv = d == 80 ? 112 : d; });
    for (int64_t s : {1, 31, 32, 33, 64, 333}) with([&](Setup& o) { o.type = type, o.positions = s; });
  }
  for (int64_t group : {1, 2, 3, 4, 5, 7}) with([&](Setup& o) { o.heads = 3 * group, o.kv_heads = 3; });
  with([](Setup& o) { o.heads = 5, o.kv_heads = 1; });
  for (int64_t t : {2, 7, 9, 63, 65, 300}) {
    with([&](Setup& o) { o.queries = t, o.poison = true, o.positions = t + 43; });
    with([&](Setup& o) { o.queries = t, o.heads = 7, o.kv_heads = 1, o.positions = t + 40; });
    with([&](Setup& o) { o.queries = t, o.type = GGML_TYPE_F32, o.dk = 80, o.dv = 48, o.mask = Mask::none; });
  }
  for (Mask mask : {Mask::none, Mask::causal, Mask::window, Mask::per_head, Mask::per_batch}) {
    for (int64_t t : {3, 40})
      with([&](Setup& o) { o.mask = mask, o.batch = 2, o.queries = t, o.max_bias = t == 40 ? 8 : 0; });
    for (int64_t t : {1, 33}) with([&](Setup& o) { o.mask = mask, o.softcap = 5, o.sinks = true, o.queries = t; });
    if (mask != Mask::none) with([&](Setup& o) { o.mask = mask, o.max_bias = 8, o.heads = 6; });
  }
  with([](Setup& o) { o.mask = Mask::window, o.poison = true; });
}

}  // namespace

int main() {
  int tried = 0;
  AttentionKernel best;
  on_each_target([&](const char* name) {
    AttentionKernel kernel;
    kernel.tile = etggml::kernels::attention_tile_functions();
    kernel.block = etggml::kernels::attention_block_functions();
    if (!kernel.tile.f16 || !kernel.block.multiply) return;
    if (tried++ == 0) best = kernel;
    std::printf("%s\n", name);
    for (int threads : {1, 2, 3}) {
      kernel.threads = threads;
      check_all(kernel, threads);
      check_all(kernel, threads == 3 ? 2 : 1);  // another number than it was made for
    }
  });
  {  // Without functions for this CPU, and for what it was not made for, it is ggml's.
    Tensors m;
    ggml_tensor* k = ggml_new_tensor_3d(m.ctx, GGML_TYPE_F16, 64, 8, 2);
    ggml_tensor* odd = ggml_new_tensor_3d(m.ctx, GGML_TYPE_F16, 24, 8, 2);
    ggml_tensor* bf16 = ggml_new_tensor_3d(m.ctx, GGML_TYPE_BF16, 64, 8, 2);
    for (int64_t queries : {1, 64}) {
      ggml_tensor* q = ggml_new_tensor_3d(m.ctx, GGML_TYPE_F32, 64, queries, 2);
      CHECK(etggml::kernels::attention(m.ctx, {q, k, k}, {}) == nullptr);
      CHECK(etggml::kernels::attention(m.ctx, {q, bf16, bf16}, best) == nullptr);
      CHECK(etggml::kernels::attention(m.ctx, {q, k, odd}, best) == nullptr);
    }
  }
  std::printf("%d instruction sets, %d failures\n", tried, failures);
  return failures != 0 ? 1 : tried == 0 ? 77 : 0;
}
