// The inner loops of attention on every instruction set, each against plain loops. No graph: see kernel_functions.cpp.
#include <cmath>
#include <cstdio>
#include <limits>
#include <random>
#include <vector>

#include "check.h"
#include "kernels/attention_block.h"
#include "kernels/attention_tile.h"
#include "targets.h"

using namespace etggml::kernels;

namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();

/// Keys, values, queries and biases of one tile; numbers are exact in fp16.
struct Tile {
  int rows, dk, dv;
  std::vector<float> q, k, v, bias;
  std::vector<uint16_t> k16, v16;

  Tile(int rows_, int dk_, int dv_) : rows(rows_), dk(dk_), dv(dv_) {
    std::mt19937 engine(static_cast<unsigned>(rows + dk));
    const auto fill = [&](int n, std::vector<float>& out) {
      for (int i = 0; i < n; ++i) out.push_back(static_cast<float>(static_cast<int>(engine() % 64) - 32) / 64);
    };
    fill(rows * dk, q);
    fill(kAttentionTile * dk, k);
    fill(kAttentionTile * dv, v);
    fill(rows * kAttentionTile, bias);
    for (float x : k) k16.push_back(hwy::BitCastScalar<uint16_t>(hwy::F16FromF32(x)));
    for (float x : v) v16.push_back(hwy::BitCastScalar<uint16_t>(hwy::F16FromF32(x)));
  }
};

/// Running results before and after; `first`: nothing has been seen.
struct Running {
  std::vector<float> acc, max, sum;
  Running(const Tile& t, bool first)
      : acc(size_t(t.rows * t.dv), first ? 0.0f : 0.5f),
        max(size_t(t.rows), first ? -kInf : 0.25f),
        sum(size_t(t.rows), first ? 0.0f : 2.0f) {}
};

/// Weighted means, with the share of earlier tiles, for the positions in `seen`.
void check(const char* what, const Tile& t, const Running& before, const Running& after, const std::vector<int>& seen,
           bool bias, float softcap) {
  double worst = 0;
  for (int r = 0; r < t.rows; ++r) {
    double sum = double{before.sum[size_t(r)]} * std::exp(before.max[size_t(r)]);
    std::vector<double> acc;
    for (int d = 0; d < t.dv; ++d) {
      acc.push_back(double{before.acc[size_t(r * t.dv + d)]} * std::exp(before.max[size_t(r)]));
    }
    for (int s : seen) {
      double score = 0;
      for (int d = 0; d < t.dk; ++d) score += double{t.q[size_t(r * t.dk + d)]} * t.k[size_t(s * t.dk + d)];
      if (softcap != 0) score = softcap * std::tanh(score);
      if (bias) score += t.bias[size_t(r * kAttentionTile + s)];
      sum += std::exp(score);
      for (int d = 0; d < t.dv; ++d) acc[size_t(d)] += std::exp(score) * t.v[size_t(s * t.dv + d)];
    }
    for (int d = 0; d < t.dv; ++d) {
      const double got = after.acc[size_t(r * t.dv + d)] / double{after.sum[size_t(r)]};
      const double error = std::fabs(got - acc[size_t(d)] / sum);
      if (!(error <= worst)) worst = error;
    }
  }
  if (!(worst < 2e-6)) std::printf("%s %d x %d/%d: off by %g\n", what, t.rows, t.dk, t.dv, worst);
  CHECK(worst < 2e-6);
}

void few(const AttentionTileFunctions& f, int rows, int dk, int dv, int count, bool f16, bool bias, float softcap) {
  const Tile t(rows, dk, dv);
  std::vector<uint8_t> visible;
  std::vector<int> seen;
  std::vector<float> shared;
  for (int i = 0; i < count; ++i) seen.push_back(i * kAttentionTile / count);
  for (int s : seen) {
    visible.push_back(static_cast<uint8_t>(s));
    shared.push_back(t.bias[size_t(s)]);
  }
  Tile same = t;  // all rows have the bias of the first
  for (size_t i = 0; i < same.bias.size(); ++i) same.bias[i] = t.bias[i % kAttentionTile];
  for (bool first : {true, false}) {
    const Running before(t, first);
    Running after = before;
    AttentionTile a;
    a.k = f16 ? reinterpret_cast<const char*>(t.k16.data()) : reinterpret_cast<const char*>(t.k.data());
    a.v = f16 ? reinterpret_cast<const char*>(t.v16.data()) : reinterpret_cast<const char*>(t.v.data());
    a.k_stride = dk * (f16 ? 2 : 4), a.v_stride = dv * (f16 ? 2 : 4);
    a.visible = visible.data(), a.count = count, a.rows = rows, a.dk = dk, a.dv = dv, a.q = t.q.data();
    if (bias) a.bias = shared.data();
    a.softcap = softcap;
    a.acc = after.acc.data(), a.max = after.max.data(), a.sum = after.sum.data();
    (f16 ? f.f16 : f.f32)(a);
    check("tile", same, before, after, seen, bias, softcap);
  }
}

void many(const AttentionBlockFunctions& f, int rows, int dk, int dv, int count, bool f16, bool bias) {
  const Tile t(rows, dk, dv);
  std::vector<float> keys(size_t(dk * kAttentionTile)), values(size_t(dv * kAttentionTile));
  bool visible[kAttentionTile];
  std::vector<float> biases(size_t(rows * kAttentionTile), -kInf);
  std::vector<const float*> of_row;
  std::vector<float> slopes(size_t(rows), 1.0f);
  std::vector<int> seen;
  for (int i = 0; i < kAttentionTile; ++i) {
    visible[i] = i % 5 != 2;
    if (i < count && visible[i]) seen.push_back(i);
  }
  for (int r = 0; r < rows; ++r) {
    for (int s : seen) biases[size_t(r * kAttentionTile + s)] = bias ? t.bias[size_t(r * kAttentionTile + s)] : 0.0f;
    of_row.push_back(biases.data() + r * kAttentionTile);
  }
  AttentionBlock b;
  b.operands = {keys.data(), values.data()};
  const auto* k = f16 ? reinterpret_cast<const char*>(t.k16.data()) : reinterpret_cast<const char*>(t.k.data());
  const auto* v = f16 ? reinterpret_cast<const char*>(t.v16.data()) : reinterpret_cast<const char*>(t.v.data());
  const int bytes = f16 ? 2 : 4;
  (f16 ? f.convert_f16 : f.convert_f32)(k, dk * bytes, dk, v, dv * bytes, dv, visible, count, b.operands);
  const Running before(t, false);
  Running after = before;
  b.dk = dk, b.dv = dv, b.rows = rows, b.q = t.q.data(), b.bias = of_row.data(), b.slopes = slopes.data();
  b.acc = after.acc.data(), b.max = after.max.data(), b.sum = after.sum.data();
  f.multiply(b);
  check("block", t, before, after, seen, bias, 0);
}

}  // namespace

int main() {
  int tried = 0;
  on_each_target([&](const char* name) {
    const AttentionTileFunctions tile = attention_tile_functions();
    const AttentionBlockFunctions block = attention_block_functions();
    if (!tile.f16 || !block.multiply) return;
    std::printf("%s\n", name);
    ++tried;
    for (bool f16 : {true, false}) {
      for (bool bias : {true, false}) {
        for (int rows = 1; rows <= kAttentionMaxRows; ++rows) {
          for (int count : {1, 5, 16, 31, 32}) few(tile, rows, 16 * rows, 48, count, f16, bias, 0);
          few(tile, rows, 64, 80, 32, f16, bias, 5);
        }
        for (int rows : {1, 2, 7, 8, 9, 19}) {
          for (int count : {1, 17, 32}) many(block, rows, 16 + 16 * (rows % 4), 80, count, f16, bias);
        }
      }
    }
  });
  return failures() != 0 ? 1 : tried == 0 ? 77 : 0;
}
