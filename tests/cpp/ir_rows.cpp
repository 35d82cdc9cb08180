// Numbers for whole rows, and means of rows: our kernels, on one thread and on several, and ggml's nodes.
#include "graph/kernels/cpu_kernels.h"
#include "ir_maker.h"
#include "ir_run.h"

using namespace irtest;
using etggml::graph::CpuKernels;
using etggml::graph::CpuKernelSet;
using Dims = std::array<int64_t, 4>;  // in ggml's order

namespace {

std::vector<int64_t> torch_dims(const Dims& ne) { return {ne[3], ne[2], ne[1], ne[0]}; }
size_t count(const Dims& ne) { return size_t(ne[0] * ne[1] * ne[2] * ne[3]); }
uint32_t shape(Maker& m, const Dims& ne) { return m.shape({ne[0], ne[1], ne[2], ne[3]}); }

void set_threads(int threads) {
  auto set = reinterpret_cast<ggml_backend_set_n_threads_t>(ggml_backend_reg_get_proc_address(
      ggml_backend_dev_backend_reg(ggml_backend_get_device(cpu_backend())), "ggml_backend_set_n_threads"));
  CHECK(set != nullptr);
  if (set) set(cpu_backend(), threads);
}

/// With ggml's kernels and with ours, on 1 to 3 threads.
void check(const Program& program, const std::vector<Arg>& args, const std::vector<float>& want, double bound) {
  const CpuKernelSet set(nullptr, 1, "rows");
  for (int threads : {0, 1, 2, 3}) {
    set_threads(std::max(threads, 1));
    CpuKernels kernels(set);
    etggml::graph::BuildOptions options;
    if (threads > 0) options.kernels = &kernels;
    Store store(program);
    auto out = run(program, store, args, options);
    CHECK_OK(out.status());
    if (out.ok()) CHECK(nmse(out->values[0], want) <= bound);
  }
  set_threads(1);
}

void binary(fb::BinaryKind kind, const Dims& xs, const Dims& ys) {
  Maker m;
  const uint32_t x = m.input_leaf(m.input("x", F32, torch_dims(xs)), GGML_TYPE_F32, shape(m, xs));
  const uint32_t y = m.input_leaf(m.input("y", F32, torch_dims(ys)), GGML_TYPE_F32, shape(m, ys));
  m.output(m.n(fb::CreateBinary(m.b, kind), {x, y}, GGML_TYPE_F32, shape(m, xs)), torch_dims(xs));
  auto program = parse(m.finish());
  CHECK_OK(program.status());
  if (!program.ok()) return;
  const auto a = noise(count(xs), 1), b = noise(count(ys), 2);
  std::vector<float> want;
  for (int64_t l = 0; l < xs[3]; ++l)
    for (int64_t k = 0; k < xs[2]; ++k)
      for (int64_t j = 0; j < xs[1]; ++j)
        for (int64_t i = 0; i < xs[0]; ++i) {
          const float p = a[want.size()];
          const float q = b[size_t(((l % ys[3] * ys[2] + k % ys[2]) * ys[1] + j % ys[1]) * ys[0] + i % ys[0])];
          want.push_back(kind == fb::BinaryKind_Add   ? p + q
                         : kind == fb::BinaryKind_Sub ? p - q
                         : kind == fb::BinaryKind_Mul ? p * q
                                                      : p / q);
        }
  check(**program, {Arg::floats(torch_dims(xs), a), Arg::floats(torch_dims(ys), b)}, want, 0.0);
}

void means(const Dims& xs) {
  Maker m;
  const Dims ys{1, xs[1], xs[2], xs[3]};
  const uint32_t x = m.input_leaf(m.input("x", F32, torch_dims(xs)), GGML_TYPE_F32, shape(m, xs));
  m.output(m.n(fb::CreateMean(m.b), {x}, GGML_TYPE_F32, shape(m, ys)), torch_dims(ys));
  auto program = parse(m.finish());
  CHECK_OK(program.status());
  if (!program.ok()) return;
  const auto a = noise(count(xs), 3);
  std::vector<float> want;
  for (size_t row = 0; row < count(ys); ++row) {
    double sum = 0;
    for (size_t i = 0; i < size_t(xs[0]); ++i) sum += a[row * size_t(xs[0]) + i];
    want.push_back(static_cast<float>(sum / double(xs[0])));
  }
  check(**program, {Arg::floats(torch_dims(xs), a)}, want, 1e-12);
}

}  // namespace

int main() {
  for (fb::BinaryKind kind : {fb::BinaryKind_Add, fb::BinaryKind_Sub, fb::BinaryKind_Mul, fb::BinaryKind_Div}) {
    binary(kind, {7, 5, 6, 2}, {1, 1, 6, 1});     // channels
    binary(kind, {7, 5, 6, 2}, {1, 1, 6, 2});     // gates
    binary(kind, {7, 5, 6, 2}, {1, 1, 3, 1});     // repeated
    binary(kind, {9, 5, 6, 2}, {1, 5, 1, 1});     // lines
    binary(kind, {9, 5, 6, 2}, {1, 1, 1, 2});     // images
    binary(kind, {9, 5, 6, 2}, {1, 5, 3, 2});     // lines of channels
    binary(kind, {9, 5, 6, 2}, {9, 1, 6, 1});     // not ours
    binary(kind, {130, 90, 6, 2}, {1, 1, 1, 1});  // too much for one row
    binary(kind, {20000, 3, 1, 1}, {1, 1, 1, 1});
  }
  for (int64_t row : {8, 9, 49, 1000, 20000}) means({row, 3, 2, 2});
  std::printf("%d failures\n", failures);
  return failures != 0;
}
