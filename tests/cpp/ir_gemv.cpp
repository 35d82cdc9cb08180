// The matrix-vector kernel that may replace ggml's: same numbers, and only where it may.
#include "ir_run.h"
#include "kernels/cpu_kernels.h"

using namespace irtest;

namespace {

using Traits = const ggml_type_traits_cpu* (*)(ggml_type);

/// The function lives in the module ggml loaded; find the module again by name.
Traits cpu_traits() {
  ggml_backend_reg_t reg = ggml_backend_dev_backend_reg(ggml_backend_get_device(cpu_backend()));
  Dl_info info{};
  if (!dladdr(ggml_backend_reg_get_proc_address(reg, "ggml_backend_set_n_threads"), &info) || !info.dli_fname)
    return nullptr;
  void* module = dlopen(info.dli_fname, RTLD_NOW | RTLD_NOLOAD);
  return module ? reinterpret_cast<Traits>(dlsym(module, "etg_ggml_get_type_traits_cpu")) : nullptr;
}

}  // namespace

int main() {
  constexpr int K = 512, N = 77;
  etggml::kernels::CpuKernelSet set(cpu_traits(), 1, "gemv");
  CHECK(set.use_gemv && !set.use_attention);
  set.gemv.min_bytes = 0;
  Maker m;
  const uint32_t in = m.input("x", F32, {-1, K});
  const int64_t t = m.symbol_dim(m.symbol_from_dim("T", 1, 3, in, 0));
  const uint32_t ws = m.shape({K, N, 1, 1});
  const uint32_t x = m.input_leaf(in, GGML_TYPE_F32, m.shape({K, t, 1, 1}));
  const uint32_t w = m.weight_leaf(m.weight_slot("w", ws), 255, ws);
  m.output(m.n(fb::CreateMulMat(m.b), {w, x}, GGML_TYPE_F32, m.shape({N, t, 1, 1})), {t, N});
  auto ir_graph = parse(m.finish());
  CHECK_OK(ir_graph.status());
  if (!ir_graph.ok()) return 1;
  for (ggml_type type : {GGML_TYPE_F32, GGML_TYPE_F16, GGML_TYPE_BF16, GGML_TYPE_Q8_0, GGML_TYPE_Q4_0, GGML_TYPE_Q5_1,
                         GGML_TYPE_Q4_K, GGML_TYPE_Q6_K, GGML_TYPE_IQ4_XS}) {
    for (int64_t rows : {1, 3}) {
      Store store(**ir_graph);
      store.set_weight("w", type, noise(K * N, 5));
      const std::vector<Arg> args{Arg::floats({rows, K}, noise(size_t(rows * K), 6))};
      etggml::graph::BuildOptions options;
      auto plain = run(**ir_graph, store, args, options);
      etggml::kernels::CpuKernels kernels(set);
      options.kernels = &kernels;
      auto ours = run(**ir_graph, store, args, options);
      CHECK_OK(plain.status());
      CHECK_OK(ours.status());
      if (!plain.ok() || !ours.ok()) continue;
      const double e = nmse(ours->values[0], plain->values[0]);
      if (!(e < 1e-12)) std::printf("%s x %lld rows: nmse %g\n", ggml_type_name(type), static_cast<long long>(rows), e);
      CHECK(e < 1e-12);
    }
  }
  {  // What it must leave alone.
    ggml_context* ctx = ggml_init({16 * ggml_tensor_overhead(), nullptr, true});
    ggml_tensor* wt = ggml_new_tensor_2d(ctx, GGML_TYPE_F32, K, N);
    ggml_tensor* row = ggml_new_tensor_1d(ctx, GGML_TYPE_F32, K);
    CHECK(etggml::kernels::gemv_prefetch(ctx, wt, row, set.gemv) == nullptr);  // no buffer: not host memory
    CHECK(etggml::kernels::gemv_prefetch(ctx, wt, row, {}) == nullptr);
    ggml_free(ctx);
  }
  std::printf("%d failures\n", failures);
  return failures != 0;
}
