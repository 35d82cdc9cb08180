// Time of our decode kernels inside a CUDA graph, without a model around them: the layers of a decoder with random
// weights of one type, whole and with kernels left out, microseconds a layer, and what that makes of weights a second.
//
//   nvcc -std=c++17 -O3 -arch=sm_90 -I csrc -I <ggml>/include benchmarks/cuda/kernels/decode_chain.cu csrc/cuda/*.cu -o
//   decode_chain
//   decode_chain [SHAPE [N_KV [COLUMNS [TYPE [PARTS ...]]]]]
// SHAPE: qwen3-0.6b, llama-3.2-1b, qwen3-4b, qwen3-8b (its first 9 layers); TYPE: q8_0, q4_0, q5_0, q4_k, q5_k, q6_k
#include <cuda_runtime.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iterator>
#include <string>
#include <vector>

#include "check.cuh"
#include "cuda/kernels.cuh"
#include "weight_formats.h"

namespace {

using namespace etggml::cuda;

struct Shape {
  const char* name;
  int layers;
  int64_t width, ff, heads, kv_heads, dim, vocabulary;
  bool head_norm;
  int64_t n_kv = 256, position = 100;
  int columns = 1;
};

const Shape kShapes[] = {{"qwen3-0.6b", 28, 1024, 3072, 16, 8, 128, 151936, true},
                         {"llama-3.2-1b", 16, 2048, 8192, 32, 8, 64, 128256, false},
                         {"qwen3-4b", 36, 2560, 9728, 32, 8, 128, 151936, true},
                         {"qwen3-8b", 9, 4096, 12288, 32, 8, 128, 151936, true}};

/// Random halves below 0.01 (sums stay finite), copied to wherever weights are wanted.
struct Noise {
  static constexpr size_t kBytes = size_t{16} << 20;
  void* data = nullptr;
  Noise() {
    std::vector<uint16_t> halves(kBytes / 2);
    for (auto& v : halves) v = static_cast<uint16_t>(std::rand() & 0x1fff);
    CHECK(cudaMalloc(&data, kBytes));
    CHECK(cudaMemcpy(data, halves.data(), kBytes, cudaMemcpyHostToDevice));
  }
  void fill(void* to, size_t bytes) const {
    for (size_t at = 0; at < bytes; at += kBytes)
      CHECK(cudaMemcpy(static_cast<uint8_t*>(to) + at, data, std::min(kBytes, bytes - at), cudaMemcpyDeviceToDevice));
  }
};

ggml_tensor* tensor(ggml_type type, size_t row_bytes, int64_t ne0, int64_t ne1, size_t bytes, bool random = false) {
  auto* t = new ggml_tensor();
  t->type = type;
  t->ne[0] = ne0;
  t->ne[1] = ne1;
  t->ne[2] = t->ne[3] = 1;
  t->nb[1] = row_bytes;
  CHECK(cudaMalloc(&t->data, bytes));
  CHECK(cudaMemset(t->data, 0, bytes));
  if (random) {
    static const Noise noise;
    noise.fill(t->data, bytes);
  }
  return t;
}

ggml_tensor* f32(int64_t n, bool random = false) {
  ggml_tensor* t = tensor(GGML_TYPE_F32, n * 4, n, 1, n * 4);
  std::vector<float> noise(n);
  for (float& v : noise) v = random ? static_cast<float>(std::rand()) / RAND_MAX - 0.5f : 0.0f;
  CHECK(cudaMemcpy(t->data, noise.data(), noise.size() * 4, cudaMemcpyHostToDevice));
  return t;
}
/// A random matrix of the type that is measured.
ggml_tensor* matrix(const Format& format, int64_t k, int64_t n) {
  const size_t row = static_cast<size_t>(k) / format.elements * format.bytes;
  return tensor(format.type, row, k, n, row * static_cast<size_t>(n), true);
}

struct Layer {
  MatVecDesc qkv{}, out{}, gate{}, down{};
  HeadsDesc heads{};
  AttentionDesc attention{};
  HeadsAttentionDesc both{};
};

struct Model {
  std::vector<Layer> layers;
  MatVecDesc head{};
  ArgmaxDesc argmax{};
};

MatVecDesc matvec(const ggml_tensor* x, const ggml_tensor* gain, int columns) {
  MatVecDesc c{};
  c.kind = Kind::MatVec;
  c.overlaps_next = true;
  c.columns = columns;
  c.x = x;
  c.gain = gain;
  c.norm = gain != nullptr;
  c.eps = 1e-6f;
  return c;
}

Model make(const Shape& s, const Format& format) {
  Model m;
  auto weight = [&](int64_t k, int64_t rows) { return matrix(format, k, rows); };
  const int64_t n = s.columns;
  ggml_tensor *x = f32(s.width * n, true), *q = f32(s.heads * s.dim * n, true), *k = f32(s.kv_heads * s.dim * n, true),
              *v = f32(s.kv_heads * s.dim * n, true), *rotated = f32(s.heads * s.dim * n),
              *mixed = f32(s.heads * s.dim * n), *h = f32(s.ff * n), *gain = f32(s.width, true),
              *head_gain = f32(s.dim, true), *scratch = f32(scratch_elements(s.dim, s.heads, s.columns));
  ggml_tensor* mask = tensor(GGML_TYPE_F16, 0, s.n_kv, n, s.n_kv * 2 * n);
  ggml_tensor* position = tensor(GGML_TYPE_I32, 4, n, 1, 4 * n);
  ggml_tensor* row = tensor(GGML_TYPE_I64, 8, n, 1, 8 * n);
  position->flags = row->flags = GGML_TENSOR_FLAG_INPUT;
  for (int64_t i = 0; i < n; ++i) {
    const int32_t p32 = static_cast<int32_t>(s.position + i);
    const int64_t p64 = s.position + i;
    CHECK(cudaMemcpy(static_cast<int32_t*>(position->data) + i, &p32, 4, cudaMemcpyHostToDevice));
    CHECK(cudaMemcpy(static_cast<int64_t*>(row->data) + i, &p64, 8, cudaMemcpyHostToDevice));
  }
  for (int i = 0; i < s.layers; ++i) {
    Layer l;
    l.qkv = matvec(x, gain, s.columns);
    l.qkv.segments = 3;
    l.qkv.segment[0] = {weight(s.width, s.heads * s.dim), nullptr, nullptr, q, s.heads * s.dim};
    l.qkv.segment[1] = {weight(s.width, s.kv_heads * s.dim), nullptr, nullptr, k, s.kv_heads * s.dim};
    l.qkv.segment[2] = {weight(s.width, s.kv_heads * s.dim), nullptr, nullptr, v, s.kv_heads * s.dim};
    l.out = matvec(mixed, nullptr, s.columns);
    l.out.segments = 1;
    l.out.segment[0] = {weight(s.heads * s.dim, s.width), nullptr, x, x, s.width};
    l.out.spreads = true;  // as graph/fusion has it behind attention
    l.gate = matvec(x, gain, s.columns);
    l.gate.segments = 2;
    l.gate.glu = MatVecDesc::Swiglu;
    l.gate.segment[0] = {weight(s.width, s.ff), nullptr, nullptr, h, s.ff};
    l.gate.segment[1] = {weight(s.width, s.ff), nullptr, nullptr, nullptr, s.ff};
    l.down = matvec(h, nullptr, s.columns);
    l.down.segments = 1;
    l.down.segment[0] = {weight(s.ff, s.width), nullptr, x, x, s.width};
    const size_t cache = static_cast<size_t>(s.kv_heads * s.dim * s.n_kv) * 2;
    ggml_tensor* k_cache = tensor(GGML_TYPE_F16, 0, s.kv_heads * s.dim, s.n_kv, cache, true);
    ggml_tensor* v_cache = tensor(GGML_TYPE_F16, 0, s.kv_heads * s.dim, s.n_kv, cache, true);
    HeadsDesc& c = l.heads;
    c.kind = Kind::Heads;
    c.overlaps_next = true;
    const ggml_tensor* gain_of_heads = s.head_norm ? head_gain : nullptr;
    c.q = {q, 0, s.heads * s.dim, gain_of_heads, 1e-6f, s.head_norm, true};
    c.k = {k, 0, s.kv_heads * s.dim, gain_of_heads, 1e-6f, s.head_norm, true};
    c.v = {v, 0, s.kv_heads * s.dim, nullptr, 0, false, false};
    c.q_out = rotated;
    c.k_cache = k_cache;
    c.v_cache = v_cache;
    c.rows = row;
    c.positions = c.q_positions = position;
    c.head_dim = c.n_dims = static_cast<int32_t>(s.dim);
    c.q_heads = static_cast<int32_t>(s.heads);
    c.kv_heads = static_cast<int32_t>(s.kv_heads);
    c.tokens = c.q_tokens = s.columns;
    c.neox = true;
    c.freq_base = 1e6f;
    c.freq_scale = c.attn_factor = 1.0f;
    AttentionDesc& a = l.attention;
    a.kind = Kind::Attention;
    a.overlaps_next = true;
    a.q = rotated;
    a.k_cache = k_cache;
    a.v_cache = v_cache;
    a.k_row_stride = a.v_row_stride = s.kv_heads * s.dim;
    a.k_head_stride = a.v_head_stride = s.dim;
    a.mask = mask;
    a.out = mixed;
    a.scratch = scratch;
    a.n_kv = s.n_kv;
    a.head_dim = static_cast<int32_t>(s.dim);
    a.q_heads = static_cast<int32_t>(s.heads);
    a.kv_heads = static_cast<int32_t>(s.kv_heads);
    a.tokens = s.columns;
    a.scale = 0.088f;
    l.both.kind = Kind::HeadsAttention;
    l.both.overlaps_next = true;
    l.both.heads = c;
    l.both.attention = a;
    m.layers.push_back(l);
  }
  ggml_tensor* logits = f32(s.vocabulary);
  m.head = matvec(x, gain, 1);
  m.head.segments = 1;
  m.head.segment[0] = {weight(s.width, s.vocabulary), nullptr, nullptr, logits, s.vocabulary};
  m.argmax.kind = Kind::Argmax;
  m.argmax.overlaps_next = true;
  m.argmax.x = logits;
  m.argmax.out = tensor(GGML_TYPE_I32, 4, 1, 1, 4);
  m.argmax.scratch = f32(kArgmaxScratch);
  return m;
}

/// Largest difference of a product from a plain one in double precision, relative to its largest
/// element. What 8-bit columns make of it is about 0.005.
double error_of(const MatVecDesc& c, const Format& format) {
  std::vector<float> values(format.elements);
  if (!launch_matvec(0, nullptr, c)) return 1e9;
  auto floats = [](const ggml_tensor* t, int64_t n) {
    std::vector<float> v(n);
    CHECK(cudaMemcpy(v.data(), t->data, v.size() * 4, cudaMemcpyDeviceToHost));
    return v;
  };
  const int64_t k = c.segment[0].weight->ne[0];
  MatVecDesc copy = c;
  std::vector<float> x = floats(c.x, k * c.columns), gain(k, 1.0f);
  if (c.gain != nullptr) gain = floats(c.gain, k);
  std::vector<std::vector<float>> residual(c.segments);
  double worst = 0, largest = 0;
  std::vector<std::vector<double>> sums(c.segments);
  for (int i = 0; i < c.segments; ++i)
    if (c.segment[i].residual != nullptr) residual[i] = floats(c.segment[i].residual, c.segment[i].rows * c.columns);
  CHECK(cudaDeviceSynchronize());
  if (!launch_matvec(0, nullptr, copy)) return 1e9;
  for (int i = 0; i < c.segments; ++i) {
    const MatVecDesc::Segment& s = c.segment[i];
    const size_t row = s.weight->nb[1];
    std::vector<uint8_t> w(row * s.rows);
    CHECK(cudaMemcpy(w.data(), s.weight->data, w.size(), cudaMemcpyDeviceToHost));
    for (int64_t n = 0; n < c.columns; ++n) {
      double squares = 0;
      for (int64_t j = 0; j < k; ++j) squares += double(x[n * k + j]) * x[n * k + j];
      const double scale = c.norm ? 1 / std::sqrt(squares / k + c.eps) : 1;
      for (int64_t r = 0; r < s.rows; ++r) {
        double y = 0;
        for (int64_t b = 0; b < k / format.elements; ++b) {
          format.decode(&w[r * row + b * format.bytes], values.data());
          for (int64_t j = 0; j < format.elements; ++j) {
            const int64_t at = b * format.elements + j;
            y += double(values[j]) * x[n * k + at] * gain[at] * scale;
          }
        }
        sums[i].push_back(y);
      }
    }
  }
  for (int i = 0; i < (c.glu != 0 ? 1 : c.segments); ++i) {
    const std::vector<float> out = floats(c.segment[i].out, c.segment[i].rows * c.columns);
    for (size_t j = 0; j < out.size(); ++j) {
      double y = sums[i][j];
      if (c.glu != 0) y = y / (1 + std::exp(-y)) * sums[1][j];
      if (!residual[i].empty()) y += residual[i][j];
      worst = std::max(worst, std::abs(y - out[j]));
      largest = std::max(largest, std::abs(y));
    }
  }
  return worst / largest;
}

/// Between what two kernels and what one makes of heads and attention: outputs, relative to the largest.
double difference(const Layer& l) {
  const size_t n = static_cast<size_t>(l.attention.head_dim) * l.attention.q_heads * l.attention.tokens;
  std::vector<float> a(n), b(n);
  bool ok = launch_heads(0, nullptr, l.heads) && launch_attention(0, nullptr, l.attention);
  CHECK(cudaMemcpy(a.data(), l.attention.out->data, n * 4, cudaMemcpyDeviceToHost));
  CHECK(cudaMemset(l.attention.out->data, 0, n * 4));
  ok = ok && launch_heads_attention(0, nullptr, l.both);
  CHECK(cudaMemcpy(b.data(), l.attention.out->data, n * 4, cudaMemcpyDeviceToHost));
  double worst = 0, largest = 0;
  for (size_t i = 0; i < n; ++i) {
    worst = std::max(worst, std::abs(static_cast<double>(a[i]) - b[i]));
    largest = std::max(largest, std::abs(static_cast<double>(a[i])));
  }
  return ok && largest > 0 ? worst / largest : 1e9;
}

/// `parts`: letters of q (QKV), h (heads), a (attention), x (both), o, g (gate and up), d (down), and once H (head), m
/// (argmax).
double microseconds(const Model& m, const std::string& parts) {
  cudaStream_t stream;
  CHECK(cudaStreamCreate(&stream));
  cudaGraph_t graph;
  cudaGraphExec_t executable;
  CHECK(cudaStreamBeginCapture(stream, cudaStreamCaptureModeRelaxed));
  bool ok = true;
  for (const Layer& l : m.layers) {
    for (char part : parts) {
      if (part == 'q') ok = ok && launch_matvec(0, stream, l.qkv);
      if (part == 'h') ok = ok && launch_heads(0, stream, l.heads);
      if (part == 'a') ok = ok && launch_attention(0, stream, l.attention);
      if (part == 'x') ok = ok && launch_heads_attention(0, stream, l.both);
      if (part == 'o') ok = ok && launch_matvec(0, stream, l.out);
      if (part == 'g') ok = ok && launch_matvec(0, stream, l.gate);
      if (part == 'd') ok = ok && launch_matvec(0, stream, l.down);
    }
  }
  if (parts.find('H') != std::string::npos) ok = ok && launch_matvec(0, stream, m.head);
  if (parts.find('m') != std::string::npos) ok = ok && launch_argmax(0, stream, m.argmax);
  CHECK(cudaStreamEndCapture(stream, &graph));
  if (!ok) {
    std::fprintf(stderr, "a kernel could not be launched: %s\n", cudaGetErrorString(cudaGetLastError()));
    std::exit(1);
  }
  CHECK(cudaGraphInstantiate(&executable, graph, nullptr, nullptr, 0));
  cudaEvent_t begin, end;
  CHECK(cudaEventCreate(&begin));
  CHECK(cudaEventCreate(&end));
  std::vector<float> times;
  for (int i = 0; i < 60; ++i) {
    CHECK(cudaEventRecord(begin, stream));
    CHECK(cudaGraphLaunch(executable, stream));
    CHECK(cudaEventRecord(end, stream));
    CHECK(cudaEventSynchronize(end));
    float ms = 0;
    CHECK(cudaEventElapsedTime(&ms, begin, end));
    if (i >= 10) times.push_back(ms);
  }
  std::sort(times.begin(), times.end());
  CHECK(cudaGraphExecDestroy(executable));
  CHECK(cudaGraphDestroy(graph));
  CHECK(cudaStreamDestroy(stream));
  return times[times.size() / 2] * 1000.0;
}

/// Of the weights that `parts` read.
double weight_bytes(const Model& m, const std::string& parts) {
  auto of = [](const MatVecDesc& c) {
    double bytes = 0;
    for (int i = 0; i < c.segments; ++i) bytes += double(c.segment[i].weight->nb[1]) * c.segment[i].rows;
    return bytes;
  };
  const Layer& l = m.layers[0];
  double bytes = 0;
  for (char part : parts) {
    const double layers = static_cast<double>(m.layers.size());
    if (part == 'q') bytes += layers * of(l.qkv);
    if (part == 'o') bytes += layers * of(l.out);
    if (part == 'g') bytes += layers * of(l.gate);
    if (part == 'd') bytes += layers * of(l.down);
    if (part == 'H') bytes += of(m.head);
  }
  return bytes;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string name = argc > 1 ? argv[1] : kShapes[0].name;
  const Shape* known =
      std::find_if(std::begin(kShapes), std::end(kShapes), [&](const Shape& s) { return name == s.name; });
  if (known == std::end(kShapes)) {
    std::fprintf(stderr, "no shapes of '%s': qwen3-0.6b, llama-3.2-1b, qwen3-4b or qwen3-8b\n", name.c_str());
    return 2;
  }
  Shape shape = *known;
  if (argc > 2) shape.n_kv = std::atoll(argv[2]);
  if (argc > 3) shape.columns = std::atoi(argv[3]);
  const std::string type = argc > 4 ? argv[4] : "q8_0";
  const Format* format = format_named(type);
  if (format == nullptr) {
    std::fprintf(stderr, "no type '%s': q8_0, q4_0, q5_0, q4_k, q5_k or q6_k\n", type.c_str());
    return 2;
  }
  shape.position = shape.n_kv - 20;
  const Model m = make(shape, *format);
  const bool both = supports_heads_attention(0, m.layers[0].both);
  std::vector<std::string> all = {"q",  "h",    "a",  "o",    "g",      "d", "qg", "od",
                                  "ha", "qhao", "gd", "qogd", "qhaogd", "H", "m",  "qhaogdHm"};
  if (both)
    for (const char* parts : {"x", "qx", "xo", "qxo", "qxogd", "qxogdHm"}) all.push_back(parts);
  if (argc > 5) all.assign(argv + 5, argv + argc);
  std::printf("%s %s, n_kv %lld, columns %d\n", shape.name, format->name, static_cast<long long>(shape.n_kv),
              shape.columns);
  if (both) std::printf("heads and attention in one or two kernels: difference %.2g\n", difference(m.layers[0]));
  for (const Layer* l : {&m.layers[0]})
    for (const MatVecDesc* c : {&l->qkv, &l->out, &l->gate, &l->down})
      std::printf("error %.2g\n", error_of(*c, *format));
  std::printf("error %.2g\n", error_of(m.head, *format));
  for (const std::string& parts : all) {
    const double us = microseconds(m, parts);
    std::printf("%-10s %9.1f us  %7.2f a layer  %6.0f GB/s\n", parts.c_str(), us, us / shape.layers,
                weight_bytes(m, parts) / us * 1e-3);
  }
  return 0;
}
