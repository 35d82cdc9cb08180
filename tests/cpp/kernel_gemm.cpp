// Our product of quantised matrices against the definition in double precision.
#include "ir_run.h"
#include "kernels/gemm.h"
#include "util/cpu.h"

using namespace irtest;
using etggml::kernels::GemmKernel;

namespace {

constexpr ggml_type kTypes[] = {GGML_TYPE_Q8_0, GGML_TYPE_Q4_0,   GGML_TYPE_Q4_1,   GGML_TYPE_Q5_0,
                                GGML_TYPE_Q5_1, GGML_TYPE_IQ4_NL, GGML_TYPE_IQ4_XS, GGML_TYPE_Q2_K,
                                GGML_TYPE_Q3_K, GGML_TYPE_Q4_K,   GGML_TYPE_Q5_K,   GGML_TYPE_Q6_K};

struct Matrices {
  ggml_context* ctx = ggml_init({64 * ggml_tensor_overhead() + ggml_graph_overhead(), nullptr, true});
  ggml_backend_buffer_t buffer = nullptr;
  ggml_tensor *w, *x;
  Matrices(ggml_type type, int64_t rows, int64_t k, std::array<int64_t, 3> columns) {
    w = ggml_new_tensor_2d(ctx, type, k, rows);
    x = ggml_new_tensor_4d(ctx, GGML_TYPE_F32, k, columns[0], columns[1], columns[2]);
    buffer = ggml_backend_alloc_ctx_tensors(ctx, cpu_backend());
  }
  ~Matrices() {
    ggml_backend_buffer_free(buffer);
    ggml_free(ctx);
  }
};

std::vector<float> compute(Matrices& m, const std::vector<ggml_tensor*>& results, int threads) {
  ggml_cgraph* graph = ggml_new_graph(m.ctx);
  for (ggml_tensor* y : results) ggml_build_forward_expand(graph, y);
  ggml_gallocr_t allocator = ggml_gallocr_new(ggml_backend_get_default_buffer_type(cpu_backend()));
  for (ggml_tensor* y : results) ggml_set_output(y);
  CHECK(ggml_gallocr_alloc_graph(allocator, graph));
  auto set_threads = reinterpret_cast<ggml_backend_set_n_threads_t>(ggml_backend_reg_get_proc_address(
      ggml_backend_dev_backend_reg(ggml_backend_get_device(cpu_backend())), "ggml_backend_set_n_threads"));
  set_threads(cpu_backend(), threads);
  CHECK(ggml_backend_graph_compute(cpu_backend(), graph) == GGML_STATUS_SUCCESS);
  set_threads(cpu_backend(), 1);
  std::vector<float> all;
  for (ggml_tensor* y : results) {
    std::vector<float> one(static_cast<size_t>(ggml_nelements(y)));
    ggml_backend_tensor_get(y, one.data(), 0, ggml_nbytes(y));
    all.insert(all.end(), one.begin(), one.end());
  }
  ggml_gallocr_free(allocator);
  return all;
}

/// Activations that quantise without loss: whole numbers up to 127, which every block holds, times a power of two.
std::vector<float> exact_activations(int64_t n) {
  std::vector<float> x = noise(static_cast<size_t>(n), 9);
  for (size_t i = 0; i < x.size(); ++i) {
    x[i] = i % 32 == 5 ? -127 : std::round(x[i] * 120);
    x[i] *= std::ldexp(1.0f, static_cast<int>(i / 32 % 9) - 4);
  }
  return x;
}

void check(const GemmKernel& kernel, ggml_type type, int64_t rows, int64_t k, std::array<int64_t, 3> columns,
           int threads) {
  Matrices m(type, rows, k, columns);
  const int64_t n = ggml_nrows(m.x);
  std::vector<uint8_t> bytes(ggml_nbytes(m.w));
  const std::vector<float> flat(static_cast<size_t>(k), 1.0f);
  ggml_quantize_chunk(type, noise(static_cast<size_t>(rows * k), 7).data(), bytes.data(), 0, rows, k, flat.data());
  ggml_backend_tensor_set(m.w, bytes.data(), 0, bytes.size());
  std::vector<float> w(static_cast<size_t>(rows * k));
  ggml_get_type_traits(type)->to_float(bytes.data(), w.data(), rows * k);
  const std::vector<float> x = exact_activations(n * k);
  ggml_backend_tensor_set(m.x, x.data(), 0, x.size() * 4);

  etggml::kernels::PackedActivations packed;
  ggml_tensor* y = etggml::kernels::gemm(m.ctx, m.w, m.x, {}, kernel, packed);
  ggml_tensor* again = etggml::kernels::gemm(m.ctx, m.w, m.x, {}, kernel, packed);
  CHECK(y && again && y->src[1] == again->src[1]);  // packed once
  if (!y || !again) return;
  CHECK(y->ne[0] == rows && y->ne[1] == columns[0] && y->ne[2] == columns[1] && y->ne[3] == columns[2]);
  std::vector<float> expected(static_cast<size_t>(rows * n));
  for (int64_t c = 0; c < n; ++c)
    for (int64_t r = 0; r < rows; ++r) {
      double sum = 0;
      for (int64_t i = 0; i < k; ++i) sum += double(w[size_t(r * k + i)]) * x[size_t(c * k + i)];
      expected[size_t(c * rows + r)] = float(sum);
    }
  auto twice = expected;
  twice.insert(twice.end(), expected.begin(), expected.end());
  const double e = nmse(compute(m, {y, again}, threads), twice);
  if (!(e < 1e-12)) {
    std::printf("%s %dx%d times %d, %d threads: nmse %g\n", ggml_type_name(type), int(rows), int(k), int(n), threads,
                e);
  }
  CHECK(e < 1e-12);
}

/// A NaN or an infinity must not come out as a number, nor reach another row.
void not_finite(const GemmKernel& kernel) {
  for (float bad : {NAN, INFINITY, -INFINITY}) {
    Matrices m(GGML_TYPE_Q8_0, 3, 64, {9, 1, 1});
    std::vector<uint8_t> bytes(ggml_nbytes(m.w));
    ggml_quantize_chunk(GGML_TYPE_Q8_0, noise(3 * 64, 7).data(), bytes.data(), 0, 3, 64, nullptr);
    ggml_backend_tensor_set(m.w, bytes.data(), 0, bytes.size());
    auto x = noise(9 * 64, 8);
    x[4 * 64 + 40] = bad;
    ggml_backend_tensor_set(m.x, x.data(), 0, x.size() * 4);
    etggml::kernels::PackedActivations packed;
    const auto y = compute(m, {etggml::kernels::gemm(m.ctx, m.w, m.x, {}, kernel, packed)}, 1);
    for (size_t i = 0; i < y.size(); ++i) CHECK(std::isfinite(y[i]) == (i / 3 != 4));
  }
}

}  // namespace

int main() {
  GemmKernel kernel;
  if (etggml::cpu_has_avx512_vnni()) kernel.functions = etggml::kernels::gemm_avx512vnni();
  Matrices m(GGML_TYPE_Q8_0, 40, 64, {8, 1, 1});
  etggml::kernels::PackedActivations packed;
  CHECK(etggml::kernels::gemm(m.ctx, m.w, m.x, {}, {}, packed) == nullptr);
  if (!kernel.functions.multiply) return failures ? 1 : 77;
  for (ggml_type type : kTypes) {
    const int64_t block = ggml_blck_size(type);
    for (int64_t rows : {1, 15, 16, 17, 31, 32, 33, 77, 160}) check(kernel, type, rows, 2 * block, {11, 1, 1}, 1);
    for (int64_t columns : {8, 9, 10, 12, 50}) check(kernel, type, 40, 3 * block, {columns, 1, 1}, 1);
    check(kernel, type, 100, block, {3, 2, 5}, 1);
    for (int threads : {2, 3}) check(kernel, type, 100, block, {13, 1, 1}, threads);
    check(kernel, type, 33, 4096, {300, 1, 1}, 2);  // more columns than one pass takes
  }
  not_finite(kernel);
  {  // What it leaves to ggml: few rows, other types, memory that is not the host's.
    Matrices few(GGML_TYPE_Q8_0, 40, 64, {7, 1, 1}), floats(GGML_TYPE_F16, 40, 64, {8, 1, 1});
    CHECK(etggml::kernels::gemm(few.ctx, few.w, few.x, {}, kernel, packed) == nullptr);
    CHECK(etggml::kernels::gemm(floats.ctx, floats.w, floats.x, {}, kernel, packed) == nullptr);
    ggml_tensor* nowhere = ggml_new_tensor_2d(m.ctx, GGML_TYPE_Q8_0, 64, 40);
    CHECK(etggml::kernels::gemm(m.ctx, nowhere, m.x, {}, kernel, packed) == nullptr);
  }
  std::printf("%d failures\n", failures);
  return failures != 0;
}
