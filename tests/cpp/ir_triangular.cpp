// Triangular systems: solved as substitution does it, and refused where shapes or types do not fit.
#include <functional>

#include "ir_run.h"

using namespace irtest;

namespace {

/// A system of inputs a [B, N, N] and b [B, N, K].
struct System {
  Maker m;
  uint32_t a, b;
  System(int64_t batches, int64_t n, int64_t k) {
    a = m.input_leaf(m.input("a", F32, {batches, n, n}), GGML_TYPE_F32, m.shape({n, n, batches, 1}));
    b = m.input_leaf(m.input("b", F32, {batches, n, k}), GGML_TYPE_F32, m.shape({k, n, batches, 1}));
  }
};

/// Numbers on and below the diagonal. Those above are not numbers, and must not show.
std::vector<float> lower(int64_t batches, int64_t n) {
  std::vector<float> a = noise(static_cast<size_t>(batches * n * n), 5);
  for (int64_t i = 0; i < batches; ++i)
    for (int64_t row = 0; row < n; ++row)
      for (int64_t column = row; column < n; ++column)
        a[static_cast<size_t>((i * n + row) * n + column)] = row == column ? 3.0f : NAN;
  return a;
}

void solves() {
  current = "solves";
  const int64_t sizes[][3] = {{1, 1, 1}, {1, 5, 3}, {3, 4, 1}, {2, 70, 40}};
  for (const auto& size : sizes) {
    const int64_t batches = size[0], n = size[1], k = size[2];
    const std::vector<float> a = lower(batches, n), b = noise(static_cast<size_t>(batches * n * k), 6);
    std::vector<float> want(b.size());
    for (int64_t i = 0; i < batches; ++i)
      for (int64_t column = 0; column < k; ++column)
        for (int64_t row = 0; row < n; ++row) {
          auto at = [&](int64_t r) { return static_cast<size_t>((i * n + r) * k + column); };
          double sum = b[at(row)];
          for (int64_t r = 0; r < row; ++r) sum -= double(a[static_cast<size_t>((i * n + row) * n + r)]) * want[at(r)];
          want[at(row)] = static_cast<float>(sum / a[static_cast<size_t>((i * n + row) * n + row)]);
        }
    System s(batches, n, k);
    s.m.output(s.m.n(fb::CreateSolveTri(s.m.b), {s.a, s.b}, GGML_TYPE_F32, s.m.shape({k, n, batches, 1})),
               {batches, n, k});
    auto ir_graph = parse(s.m.finish());
    CHECK_OK(ir_graph.status());
    if (!ir_graph.ok()) continue;
    Store store(**ir_graph);
    auto out = run(**ir_graph, store, {Arg::floats({batches, n, n}, a), Arg::floats({batches, n, k}, b)});
    CHECK_OK(out.status());
    if (out.ok()) CHECK(nmse(out->values[0], want) < 1e-11);
  }
}

void refuse(const char* text, const std::function<uint32_t(System&)>& node) {
  System s(2, 4, 3);
  const uint32_t y = node(s);
  s.m.output(y, {2, 4, 3});
  auto ir_graph = parse(s.m.finish());
  Status status = ir_graph.status();
  if (ir_graph.ok()) {
    Store store(**ir_graph);
    status =
        run(**ir_graph, store, {Arg::floats({2, 4, 4}, lower(2, 4)), Arg::floats({2, 4, 3}, noise(24, 1))}).status();
  }
  CHECK(status.code == ETGGML_FORMAT && status.message.find(text) != std::string::npos);
  if (status.message.find(text) == std::string::npos) std::printf("%s, not: %s\n", text, status.message.c_str());
}

void refused() {
  current = "refused";
  auto solve = [](System& s, std::vector<uint32_t> src, int type, std::vector<int64_t> ne) {
    return s.m.n(fb::CreateSolveTri(s.m.b), std::move(src), type, s.m.shape(std::move(ne)));
  };
  const std::vector<int64_t> ne = {3, 4, 2, 1};
  refuse("src has 1 values, expected 2..2", [&](System& s) { return solve(s, {s.b}, GGML_TYPE_F32, ne); });
  refuse("do not fit", [&](System& s) { return solve(s, {s.b, s.b}, GGML_TYPE_F32, ne); });
  refuse("expected f32", [&](System& s) {
    const uint32_t half = s.m.n(fb::CreateCast(s.m.b), {s.a}, GGML_TYPE_F16, s.m.shape({4, 4, 2, 1}));
    return solve(s, {half, s.b}, GGML_TYPE_F32, ne);
  });
  refuse("not contiguous", [&](System& s) {
    const uint32_t turned = s.m.permute(s.a, GGML_TYPE_F32, s.m.shape({4, 4, 2, 1}), {1, 0, 2, 3});
    return solve(s, {turned, s.b}, GGML_TYPE_F32, ne);
  });
  refuse("its sources give", [&](System& s) { return solve(s, {s.a, s.b}, GGML_TYPE_F32, {4, 3, 2, 1}); });
  refuse("type is declared f16", [&](System& s) { return solve(s, {s.a, s.b}, GGML_TYPE_F16, ne); });
}

}  // namespace

int main() {
  solves();
  refused();
  std::printf("%d failures\n", failures);
  return failures != 0;
}
