// Running products, sums of exponentials and extrema, and the search in rows: their numbers, and what is refused.
#include <functional>

#include "ir_run.h"

using namespace irtest;

namespace {

constexpr float kNaN = NAN, kInf = INFINITY;

/// Rows of an input x [2, 1, R, N], as all of these nodes take them.
struct Rows {
  Maker m;
  uint32_t x;
  std::vector<int64_t> dims;
  Rows(int64_t rows, int64_t n) : dims({rows, n}) {
    x = m.input_leaf(m.input("x", F32, dims), GGML_TYPE_F32, m.shape({n, rows, 1, 1}));
  }
  std::vector<float> run(uint32_t y, const std::vector<int64_t>& out, const std::vector<float>& data,
                         int8_t dtype = F32) {
    m.output(y, out, dtype);
    auto ir_graph = parse(m.finish());
    CHECK_OK(ir_graph.status());
    if (!ir_graph.ok()) return {};
    Store store(**ir_graph);
    auto found = irtest::run(**ir_graph, store, {Arg::floats(dims, data)});
    CHECK_OK(found.status());
    return found.ok() ? found->values[0] : std::vector<float>();
  }
};

bool same(const std::vector<float>& got, const std::vector<float>& want) {
  if (got.size() != want.size()) return false;
  for (size_t i = 0; i < got.size(); ++i)
    if (!(got[i] == want[i] || (std::isnan(got[i]) && std::isnan(want[i])))) return false;
  return true;
}

void scans() {
  current = "scans";
  auto scan = [](fb::ScanKind kind, const std::vector<float>& data) {
    Rows r(2, static_cast<int64_t>(data.size()) / 2);
    const uint32_t y = r.m.n(fb::CreateScan(r.m.b, kind), {r.x}, GGML_TYPE_F32, r.m.shape({r.dims[1], 2, 1, 1}));
    return r.run(y, r.dims, data);
  };
  // Beyond the range of F32 and back.
  CHECK(same(scan(fb::ScanKind_Prod, {1e30f, 1e30f, 1e-30f, 2, 2, -3, kNaN, 1}),
             {1e30f, kInf, 1e30f, 2e30f, 2, -6, kNaN, kNaN}));
  const std::vector<float> sums = scan(fb::ScanKind_LogSumExp, {-kInf, 0, 0, 100, kInf, kInf, 1, kNaN});
  CHECK(sums.size() == 8 && sums[0] == -kInf && sums[1] == 0 && std::fabs(sums[2] - std::log(2.0)) < 1e-7);
  CHECK(sums.size() == 8 && sums[3] == 100 && sums[4] == kInf && sums[6] == kInf && std::isnan(sums[7]));
  // Longer than a piece.
  const std::vector<float> ones = scan(fb::ScanKind_LogSumExp, std::vector<float>(80000, 0.0f));
  CHECK(ones.size() == 80000 && std::fabs(ones[39999] - std::log(40000.0)) < 1e-6 && ones[40000] == 0);
}

void extrema() {
  current = "extrema";
  auto places = [](bool smallest, const std::vector<float>& data) {
    Rows r(2, static_cast<int64_t>(data.size()) / 2);
    const uint32_t y =
        r.m.n(fb::CreateRunningMax(r.m.b, smallest), {r.x}, GGML_TYPE_I32, r.m.shape({r.dims[1], 2, 1, 1}));
    return r.run(y, r.dims, data, I32);
  };
  CHECK(same(places(false, {1, 1, 0, 3, 2, -kInf, -kInf, kNaN, 9, kNaN}), {0, 1, 1, 3, 3, 0, 1, 2, 2, 4}));
  CHECK(same(places(true, {1, 1, 0, 3, 0, 5, 6, kNaN, -kInf, kNaN}), {0, 1, 2, 2, 4, 0, 0, 2, 2, 4}));
}

void searches() {
  current = "searches";
  // Rows of five elements; of these the first two are the numbers to look for.
  auto search = [](bool right, const std::vector<float>& data) {
    Rows r(2, 5);
    const uint32_t numbers =
        r.m.n(fb::CreateCont(r.m.b), {r.m.view(r.x, GGML_TYPE_F32, r.m.shape({2, 2, 1, 1}), {1, 5, 10, 10}, 0)},
              GGML_TYPE_F32, r.m.shape({2, 2, 1, 1}));
    const uint32_t y = r.m.n(fb::CreateSearch(r.m.b, right), {r.x, numbers}, GGML_TYPE_F32, r.m.shape({2, 2, 1, 1}));
    return r.run(y, {2, 2}, data);
  };
  CHECK(same(search(false, {1, 1, 2, 3, 4, -5, 0, 1, 2, kInf}), {0, 0, 0, 1}));
  CHECK(same(search(true, {1, 1, 2, 3, 4, -5, 0, 1, 2, kInf}), {2, 2, 1, 2}));
}

void refuse(const char* text, const std::function<uint32_t(Rows&)>& node) {
  Rows r(4, 3);
  r.m.output(node(r), {4, 3});
  auto ir_graph = parse(r.m.finish());
  Status status = ir_graph.status();
  if (ir_graph.ok()) {
    Store store(**ir_graph);
    status = run(**ir_graph, store, {Arg::floats({4, 3}, noise(12, 1))}).status();
  }
  CHECK(status.code == ETGGML_FORMAT && status.message.find(text) != std::string::npos);
  if (status.message.find(text) == std::string::npos) std::printf("%s, not: %s\n", text, status.message.c_str());
}

void refused() {
  current = "refused";
  refuse("kind", [](Rows& r) {
    return r.m.n(fb::CreateScan(r.m.b, static_cast<fb::ScanKind>(2)), {r.x}, GGML_TYPE_F32, r.m.shape({3, 4, 1, 1}));
  });
  refuse("its sources give", [](Rows& r) {
    return r.m.n(fb::CreateScan(r.m.b), {r.x}, GGML_TYPE_F32, r.m.shape({4, 3, 1, 1}));
  });
  refuse("type is declared", [](Rows& r) {
    return r.m.n(fb::CreateRunningMax(r.m.b), {r.x}, GGML_TYPE_F32, r.m.shape({3, 4, 1, 1}));
  });
  refuse("not contiguous", [](Rows& r) {
    const uint32_t turned = r.m.permute(r.x, GGML_TYPE_F32, r.m.shape({4, 3, 1, 1}), {1, 0, 2, 3});
    return r.m.n(fb::CreateScan(r.m.b), {turned}, GGML_TYPE_F32, r.m.shape({4, 3, 1, 1}));
  });
  refuse("do not fit", [](Rows& r) {
    const uint32_t row = r.m.view(r.x, GGML_TYPE_F32, r.m.shape({3, 1, 1, 1}), {1, 3, 3, 3}, 0);
    return r.m.n(fb::CreateSearch(r.m.b), {row, r.x}, GGML_TYPE_F32, r.m.shape({3, 4, 1, 1}));
  });
}

}  // namespace

int main() {
  scans();
  extrema();
  searches();
  refused();
  std::printf("%d failures\n", failures);
  return failures != 0;
}
