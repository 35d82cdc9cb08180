// Random graphs of oddly strided, oddly typed values: what the payload fuzzer cannot reach because its shapes stop
// fitting. Each node declares the shape its op ought to give; whatever the checks accept must run on the CPU without an
// assert.
#include <algorithm>

#include "ir_run.h"

using namespace irtest;

namespace {

using Ne = std::array<int64_t, 4>;

struct Random {
  uint32_t x;
  uint32_t operator()(uint32_t n) {
    x ^= x << 13, x ^= x >> 17, x ^= x << 5;
    return (x >> 7) % n;
  }
};

struct Value {
  uint32_t node;
  int type;
  Ne ne;
  bool state = false;
};

int64_t count(const Ne& ne) { return ne[0] * ne[1] * ne[2] * ne[3]; }

class Generator {
 public:
  explicit Generator(uint32_t seed) : r_{seed * 2654435761u + 1} {}

  std::vector<uint8_t> graph() {
    const int64_t sizes[] = {1, 2, 3, 4, 6, 8, 32, 64};
    for (int i = 0; i < 4; ++i) {
      const Ne ne{sizes[r_(8)], 1 + r_(4), 1 + r_(3), 1 + r_(2)};
      if (i < 2) {
        const char* names[] = {"x0", "x1"};
        const int types[] = {GGML_TYPE_F32, GGML_TYPE_F32, GGML_TYPE_F16, GGML_TYPE_BF16};
        const int type = types[r_(4)];
        const uint32_t in = m_.input(names[i], F32, {count(ne)});
        add(m_.input_leaf(in, type, shape(ne)), type, ne);
      } else if (i == 2) {
        const int types[] = {GGML_TYPE_F32, GGML_TYPE_F16, GGML_TYPE_Q8_0, GGML_TYPE_Q4_0, GGML_TYPE_Q5_1};
        const int type = types[ne[0] % 32 == 0 ? r_(5) : r_(2)];
        add(m_.weight_leaf(m_.weight_slot("w", shape(ne), uint8_t(type)), type, shape(ne)), type, ne);
      } else {
        const int types[] = {GGML_TYPE_F32, GGML_TYPE_F16, GGML_TYPE_BF16, GGML_TYPE_Q8_0};
        const int type = types[ne[0] % 32 == 0 ? r_(4) : r_(3)];
        add(m_.state_leaf(m_.state_slot("s", shape(ne), uint8_t(type)), type, shape(ne)), type, ne);
        values_.back().state = true;
      }
    }
    const uint32_t steps = 1 + r_(6);
    for (uint32_t i = 0; i < steps; ++i) step();
    const Value& last = values_.back();
    if (!ggml_is_quantized(static_cast<ggml_type>(last.type))) {
      m_.output(last.node, {count(last.ne)}, last.type == GGML_TYPE_I32 ? I32 : F32);
    }
    return m_.finish();
  }

 private:
  uint32_t shape(const Ne& ne) { return m_.shape({ne[0], ne[1], ne[2], ne[3]}); }
  void add(uint32_t node, int type, const Ne& ne, bool state = false) { values_.push_back({node, type, ne, state}); }
  const Value& any() { return values_[r_(2) ? values_.size() - 1 : r_(uint32_t(values_.size()))]; }

  uint32_t ids(int64_t n, int64_t rows, int type, Ne ne) {
    std::vector<int32_t> small;
    std::vector<int64_t> big;
    for (int64_t i = 0; i < n; ++i) small.push_back(int32_t(r_(uint32_t(rows)))), big.push_back(small.back());
    const uint32_t s = shape(ne);
    const uint32_t c =
        type == GGML_TYPE_I32 ? m_.constant(s, uint8_t(type), small) : m_.constant(s, uint8_t(type), big);
    return m_.const_leaf(c, type, s);
  }

  void view_or_permute(const Value v) {
    if (r_(2)) {
      std::vector<uint8_t> axes{0, 1, 2, 3};
      for (int i = 3; i > 0; --i) std::swap(axes[i], axes[r_(uint32_t(i) + 1)]);
      Ne ne;
      for (int d = 0; d < 4; ++d) ne[axes[d]] = v.ne[d];
      add(m_.permute(v.node, v.type, shape(ne), axes), v.type, ne, v.state);
      return;
    }
    Ne ne = v.ne;
    std::vector<int64_t> stride{1, v.ne[0], v.ne[0] * v.ne[1], v.ne[0] * v.ne[1] * v.ne[2]};
    int64_t offset = 0;
    for (int d = 0; d < 4; ++d) {
      const int64_t block = d == 0 ? ggml_blck_size(static_cast<ggml_type>(v.type)) : 1;
      const int64_t units = std::max<int64_t>(1, ne[d] / block), keep = 1 + r_(uint32_t(units)),
                    skip = r_(uint32_t(units - keep + 1));
      ne[d] = keep * block;
      offset += skip * block * stride[d];
    }
    if (r_(4) == 0 && ne[1] > 1) ne[1] = (ne[1] + 1) / 2, stride[1] *= 2;
    add(m_.view(v.node, v.type, shape(ne), stride, offset), v.type, ne, v.state);
  }

  void step() {
    const Value v = any(), u = any();
    const Ne& a = v.ne;
    const uint32_t s = shape(a);
    auto same = [&](auto op, int type) { add(m_.n(op, {v.node}, type, s), type, a); };
    switch (r_(26)) {
      case 0:
      case 1:
      case 2:
      case 3:
        return view_or_permute(v);
      case 4:
        return same(fb::CreateCont(m_.b), v.type);
      case 5:
        return same(fb::CreateUnary(m_.b, static_cast<fb::UnaryKind>(r_(26))), v.type);
      case 6:
        return same(fb::CreateScale(m_.b, 2, 1), v.type);
      case 7:
        return same(fb::CreateClamp(m_.b, -1, 1), v.type);
      case 8:
        return same(fb::CreateLeakyRelu(m_.b, 0.1f), v.type);
      case 9:
        return add(m_.n(fb::CreateBinary(m_.b, static_cast<fb::BinaryKind>(r_(4))), {v.node, u.node}, v.type, s),
                   v.type, a);
      case 10:
        return same(fb::CreateRmsNorm(m_.b, 1e-5f), v.type);
      case 11:
        return same(fb::CreateL2Norm(m_.b, 1e-5f), v.type);
      case 12:
        return same(fb::CreateGroupNorm(m_.b, 1 + int(r_(2)), 1e-5f), v.type);
      case 13:
        return same(fb::CreateSoftMax(m_.b, 1.0f), v.type);
      case 14: {
        const int types[] = {GGML_TYPE_F32, GGML_TYPE_F16,  GGML_TYPE_BF16,
                             GGML_TYPE_I32, GGML_TYPE_Q8_0, GGML_TYPE_Q4_1};
        return same(fb::CreateCast(m_.b), types[r_(6)]);
      }
      case 15:
      case 16: {
        const Ne ne{a[1], u.ne[1], u.ne[2], u.ne[3]};
        return add(m_.n(fb::CreateMulMat(m_.b), {v.node, u.node}, GGML_TYPE_F32, shape(ne)), GGML_TYPE_F32, ne);
      }
      case 17: {
        const int dim = int(r_(4));
        Ne ne = a;
        ne[dim] += u.ne[dim];
        return add(m_.n(fb::CreateConcat(m_.b, dim), {v.node, u.node}, v.type, shape(ne)), v.type, ne);
      }
      case 18: {
        Ne ne = a;
        for (int64_t& d : ne) d *= 1 + r_(2);
        return add(m_.n(fb::CreateRepeat(m_.b), {v.node}, v.type, shape(ne)), v.type, ne);
      }
      case 19: {
        std::vector<int32_t> before, after;
        Ne ne = a;
        for (int d = 0; d < 4; ++d) {
          before.push_back(int32_t(r_(2))), after.push_back(int32_t(r_(2)));
          ne[d] += before[d] + after[d];
        }
        return add(
            m_.n(fb::CreatePad(m_.b, m_.b.CreateVector(before), m_.b.CreateVector(after)), {v.node}, v.type, shape(ne)),
            v.type, ne);
      }
      case 20: {
        const Ne ne{1, a[1], a[2], a[3]};
        if (r_(2)) return add(m_.n(fb::CreateMean(m_.b), {v.node}, GGML_TYPE_F32, shape(ne)), GGML_TYPE_F32, ne);
        return add(m_.n(fb::CreateSumRows(m_.b), {v.node}, v.type, shape(ne)), v.type, ne);
      }
      case 21: {
        const int k = 1 + int(r_(uint32_t(a[0])));
        const Ne ne{k, a[1], a[2], a[3]};
        return add(m_.n(fb::CreateTopK(m_.b, k), {v.node}, GGML_TYPE_I32, shape(ne)), GGML_TYPE_I32, ne);
      }
      case 22: {
        const int64_t n = 1 + r_(3);
        const Ne ne{a[0], n, a[2], a[3]};
        const uint32_t i = ids(n * a[2] * a[3], a[1], GGML_TYPE_I32, {n, a[2], a[3], 1});
        return add(m_.n(fb::CreateGetRows(m_.b), {v.node, i}, v.type == GGML_TYPE_I32 ? GGML_TYPE_I32 : GGML_TYPE_F32,
                        shape(ne)),
                   v.type == GGML_TYPE_I32 ? GGML_TYPE_I32 : GGML_TYPE_F32, ne);
      }
      case 23:
      case 24: {
        const Value& target = *std::find_if(values_.rbegin(), values_.rend(), [](const Value& x) { return x.state; });
        if (r_(2))
          return add(m_.n(fb::CreateCpy(m_.b), {v.node, target.node}, target.type, shape(target.ne)), target.type,
                     target.ne, true);
        const int type = r_(2) ? GGML_TYPE_I32 : GGML_TYPE_I64;
        const uint32_t i = ids(a[1], target.ne[1], type, {a[1], 1, 1, 1});
        const Value t = target;
        return add(m_.n(fb::CreateSetRows(m_.b), {t.node, v.node, i}, t.type, shape(t.ne)), t.type, t.ne, true);
      }
      default: {
        const Ne ne{u.ne[0], a[2], a[1], a[3]};
        return add(m_.n(fb::CreateFlashAttn(m_.b, 0.5f), {v.node, u.node, u.node}, GGML_TYPE_F32, shape(ne)),
                   GGML_TYPE_F32, ne);
      }
    }
  }

  Maker m_;
  Random r_;
  std::vector<Value> values_;
};

/// 1: ran, 0: refused.
int one(uint32_t seed) {
  const std::vector<uint8_t> bytes = Generator(seed).graph();
  auto ir_graph = parse(bytes);
  if (!ir_graph.ok()) return 0;
  std::vector<std::vector<float>> data;
  std::vector<InputView> views;
  std::vector<std::vector<int64_t>> dims;
  for (uint32_t i = 0; i < (*ir_graph)->input_count(); ++i) {
    dims.push_back((*ir_graph)->dims((*ir_graph)->payload().inputs()->Get(i)->dims(), {}));
    data.push_back(noise(size_t(dims.back()[0]), seed + i));
  }
  for (size_t i = 0; i < data.size(); ++i)
    views.push_back({fb::InputKind_Tensor, F32, 1, dims[i].data(), data[i].data()});
  Store store(**ir_graph);
  store.set_weight("w", GGML_TYPE_F32, noise(2048, seed));
  auto out = run_at(**ir_graph, store, {}, views);
  return out.ok();
}

}  // namespace

#ifdef ETGGML_LIBFUZZER
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  uint32_t seed = 0;
  std::memcpy(&seed, data, std::min<size_t>(size, 4));
  one(seed);
  return 0;
}
#else
int main(int argc, char** argv) {
  const uint32_t n = argc > 1 ? uint32_t(std::atoi(argv[1])) : 6000, from = argc > 2 ? uint32_t(std::atoi(argv[2])) : 0;
  uint32_t ran = 0;
  for (uint32_t seed = from; seed < from + n; ++seed) {
    if (std::getenv("FUZZ_TRACE")) std::fprintf(stderr, "%u\n", seed);
    ran += uint32_t(one(seed));
  }
  std::printf("%u of %u graphs ran\n", ran, n);
  return ran < n / 10;  // hardly anything gets through: the generator tests nothing
}
#endif
