// Numbers for whole rows, means of rows, joined tensors, short rows by number, products of many matrices: our kernels,
// on one thread and on several, and ggml's nodes.
#include "ir_maker.h"
#include "ir_run.h"
#include "kernels/cpu_kernels.h"

using namespace irtest;
using etggml::kernels::CpuKernels;
using etggml::kernels::CpuKernelSet;
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
void check(const Graph& ir_graph, const std::vector<Arg>& args, const std::vector<float>& want, double bound) {
  const CpuKernelSet set(nullptr, 1, "rows,linear");
  for (int threads : {0, 1, 2, 3}) {
    set_threads(std::max(threads, 1));
    CpuKernels kernels(set);
    etggml::graph::BuildOptions options;
    if (threads > 0) options.kernels = &kernels;
    Store store(ir_graph);
    auto out = run(ir_graph, store, args, options);
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
  auto ir_graph = parse(m.finish());
  CHECK_OK(ir_graph.status());
  if (!ir_graph.ok()) return;
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
  check(**ir_graph, {Arg::floats(torch_dims(xs), a), Arg::floats(torch_dims(ys), b)}, want, 0.0);
}

void means(const Dims& xs) {
  Maker m;
  const Dims ys{1, xs[1], xs[2], xs[3]};
  const uint32_t x = m.input_leaf(m.input("x", F32, torch_dims(xs)), GGML_TYPE_F32, shape(m, xs));
  m.output(m.n(fb::CreateMean(m.b), {x}, GGML_TYPE_F32, shape(m, ys)), torch_dims(ys));
  auto ir_graph = parse(m.finish());
  CHECK_OK(ir_graph.status());
  if (!ir_graph.ok()) return;
  const auto a = noise(count(xs), 3);
  std::vector<float> want;
  for (size_t row = 0; row < count(ys); ++row) {
    double sum = 0;
    for (size_t i = 0; i < size_t(xs[0]); ++i) sum += a[row * size_t(xs[0]) + i];
    want.push_back(static_cast<float>(sum / double(xs[0])));
  }
  check(**ir_graph, {Arg::floats(torch_dims(xs), a)}, want, 1e-12);
}

void concat(int dim, Dims xs, Dims ys) {
  Maker m;
  Dims ne = xs;
  ne[size_t(dim)] += ys[size_t(dim)];
  const uint32_t x = m.input_leaf(m.input("x", F32, torch_dims(xs)), GGML_TYPE_F32, shape(m, xs));
  const uint32_t y = m.input_leaf(m.input("y", F32, torch_dims(ys)), GGML_TYPE_F32, shape(m, ys));
  m.output(m.n(fb::CreateConcat(m.b, dim), {x, y}, GGML_TYPE_F32, shape(m, ne)), torch_dims(ne));
  auto ir_graph = parse(m.finish());
  CHECK_OK(ir_graph.status());
  if (!ir_graph.ok()) return;
  const auto a = noise(count(xs), 1), b = noise(count(ys), 2);
  std::vector<float> want;
  size_t run_a = 1, run_b = 1;
  for (size_t d = 0; d <= size_t(dim); ++d) run_a *= size_t(xs[d]), run_b *= size_t(ys[d]);
  for (size_t at_a = 0, at_b = 0; at_a < a.size(); at_a += run_a, at_b += run_b) {
    want.insert(want.end(), a.begin() + ptrdiff_t(at_a), a.begin() + ptrdiff_t(at_a + run_a));
    want.insert(want.end(), b.begin() + ptrdiff_t(at_b), b.begin() + ptrdiff_t(at_b + run_b));
  }
  check(**ir_graph, {Arg::floats(torch_dims(xs), a), Arg::floats(torch_dims(ys), b)}, want, 0.0);
}

void rows_by_number(const Dims& xs, int64_t picked) {
  Maker m;
  const Dims ids{picked, xs[2], xs[3], 1}, ne{xs[0], picked, xs[2], xs[3]};
  const uint32_t x = m.input_leaf(m.input("x", F32, torch_dims(xs)), GGML_TYPE_F32, shape(m, xs));
  const uint32_t i = m.input_leaf(m.input("i", I64, torch_dims(ids)), GGML_TYPE_I32, shape(m, ids));
  m.output(m.n(fb::CreateGetRows(m.b), {x, i}, GGML_TYPE_F32, shape(m, ne)), torch_dims(ne));
  auto ir_graph = parse(m.finish());
  CHECK_OK(ir_graph.status());
  if (!ir_graph.ok()) return;
  const auto a = noise(count(xs), 1);
  std::vector<int64_t> numbers;
  std::vector<float> want;
  for (size_t n = 0; n < count(ids); ++n) {
    numbers.push_back(int64_t(n * 7 + n / 3) % xs[1]);
    const size_t row = n / size_t(picked) * size_t(xs[1]) + size_t(numbers.back());
    for (size_t e = 0; e < size_t(xs[0]); ++e) want.push_back(a[row * size_t(xs[0]) + e]);
  }
  check(**ir_graph, {Arg::floats(torch_dims(xs), a), Arg::longs(torch_dims(ids), numbers)}, want, 0.0);
}

/// `swapped`: the first operand is a view with its dimensions 1 and 2 exchanged, as heads of tokens are.
void products(int64_t k, int64_t n, int64_t columns, const Dims& batches, bool swapped) {
  Maker m;
  const Dims ws{k, n, batches[0], batches[1]}, xs{k, columns, batches[2], batches[3]};
  const Dims ne{n, columns, batches[2], batches[3]}, stored{k, batches[0], n, batches[1]};
  const Dims& in = swapped ? stored : ws;
  uint32_t w = m.input_leaf(m.input("w", F32, torch_dims(in)), GGML_TYPE_F32, shape(m, in));
  if (swapped) w = m.permute(w, GGML_TYPE_F32, shape(m, ws), {0, 2, 1, 3});
  const uint32_t x = m.input_leaf(m.input("x", F32, torch_dims(xs)), GGML_TYPE_F32, shape(m, xs));
  m.output(m.n(fb::CreateMulMat(m.b), {w, x}, GGML_TYPE_F32, shape(m, ne)), torch_dims(ne));
  auto ir_graph = parse(m.finish());
  CHECK_OK(ir_graph.status());
  if (!ir_graph.ok()) return;
  const auto a = noise(count(ws), 1), b = noise(count(xs), 2);
  std::vector<float> want;
  for (int64_t i3 = 0; i3 < xs[3]; ++i3)
    for (int64_t i2 = 0; i2 < xs[2]; ++i2)
      for (int64_t c = 0; c < columns; ++c)
        for (int64_t row = 0; row < n; ++row) {
          const int64_t b2 = i2 / (xs[2] / ws[2]), b3 = i3 / (xs[3] / ws[3]);
          const int64_t at = swapped ? (b3 * n + row) * ws[2] + b2 : (b3 * ws[2] + b2) * n + row;
          double sum = 0;
          for (int64_t e = 0; e < k; ++e)
            sum += double(a[size_t(at * k + e)]) * b[size_t(((i3 * xs[2] + i2) * columns + c) * k + e)];
          want.push_back(static_cast<float>(sum));
        }
  check(**ir_graph, {Arg::floats(torch_dims(in), a), Arg::floats(torch_dims(xs), b)}, want, 1e-12);
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
  concat(0, {3, 5, 2, 2}, {4, 5, 2, 2});
  concat(1, {7, 5, 2, 3}, {7, 1, 2, 3});
  concat(2, {70, 50, 3, 2}, {70, 50, 9, 2});  // pieces that begin and end within a run
  concat(3, {70, 50, 3, 2}, {70, 50, 3, 1});
  for (int64_t row : {1, 2, 8, 9}) {  // the last is not ours
    rows_by_number({row, 14, 5, 3}, 33);
    rows_by_number({row, 64, 40, 20}, 128);
  }
  for (bool swapped : {false, true}) {
    products(32, 49, 49, {3, 16, 3, 16}, swapped);
    products(49, 32, 49, {3, 4, 3, 4}, swapped);
    products(33, 17, 5, {2, 1, 4, 3}, swapped);     // each matrix for several
    products(200, 70, 100, {1, 2, 1, 2}, swapped);  // few and large
    products(31, 40, 3, {2, 2, 2, 2}, swapped);     // too few rows
    products(31, 5, 40, {2, 2, 2, 2}, swapped);
  }
  std::printf("%d failures\n", failures);
  return failures != 0;
}
