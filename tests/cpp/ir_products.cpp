// Products and convolutions with what follows them: our kernels on each instruction set, and ggml's nodes, against the
// definition in double precision.
#include <functional>

#include "ir_maker.h"
#include "ir_run.h"
#include "kernels/cpu_kernels.h"
#include "kernels/custom_op.h"
#include "targets.h"

using namespace irtest;
using etggml::kernels::CpuKernels;
using etggml::kernels::CpuKernelSet;

namespace {

constexpr float kInf = INFINITY;

struct Then {
  fb::Activation activation = fb::Activation_None;
  float min = -kInf, max = kInf;
};

double apply(const Then& then, double x) {
  switch (then.activation) {
    case fb::Activation_None:
      break;
    case fb::Activation_GeluErf:
      x = 0.5 * x * (1 + std::erf(x / std::sqrt(2.0)));
      break;
    case fb::Activation_GeluTanh:
      x = 0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
      break;
    case fb::Activation_Silu:
      x = x / (1 + std::exp(-x));
      break;
    case fb::Activation_Sigmoid:
      x = 1 / (1 + std::exp(-x));
      break;
    case fb::Activation_HardSwish:
      x = x * std::min(1.0, std::max(0.0, (x + 3) / 6));
      break;
    case fb::Activation_HardSigmoid:
      x = std::min(1.0, std::max(0.0, (x + 3) / 6));
  }
  return std::min<double>(std::max<double>(x, then.min), then.max);
}

flatbuffers::Offset<fb::Epilogue> epilogue(Maker& m, const Then& then) {
  return fb::CreateEpilogue(m.b, then.activation, then.min, then.max);
}

/// The sets to try: ggml's nodes (nullptr), and ours on every instruction set that this CPU has.
struct Set {
  const char* name;
  std::unique_ptr<CpuKernelSet> kernels;
};

std::vector<Set>& sets() {
  static std::vector<Set> all = [] {
    std::vector<Set> found;
    found.push_back({"ggml", nullptr});
    on_each_target([&](const char* name) {
      // The functions of this target are chosen here.
      auto set = std::make_unique<CpuKernelSet>(nullptr, 1, "linear,conv");
      if (set->linear.functions.multiply) found.push_back({name, std::move(set)});
    });
    return found;
  }();
  return all;
}

/// Runs a program with every set; `half`: what ggml does with F16 weights, which rounds the other operand, too; `terms`
/// of each sum, whose rounding errors add up.
void check(const char* what, const Graph& ir_graph, Store& store, const std::vector<Arg>& args,
           const std::vector<float>& want, bool half = false, int64_t terms = 1) {
  for (const Set& set : sets()) {
    etggml::graph::BuildOptions options;
    std::unique_ptr<CpuKernels> kernels;
    if (set.kernels) {
      kernels = std::make_unique<CpuKernels>(*set.kernels);
      options.kernels = kernels.get();
    }
    auto out = run(ir_graph, store, args, options);
    CHECK_OK(out.status());
    if (!out.ok()) continue;
    const double e = nmse(out->values[0], want), bound = half && !set.kernels ? 1e-5 : 1e-12 + 1e-15 * double(terms);
    if (!(e < bound)) std::printf("%s, %s: nmse %g\n", what, set.name, e);
    CHECK(e < bound);
  }
}

/// Weights as the program sees them.
std::vector<float> rounded(ggml_type type, std::vector<float> values) {
  if (type == GGML_TYPE_F32) return values;
  std::vector<uint8_t> bytes(ggml_row_size(type, static_cast<int64_t>(values.size())));
  ggml_quantize_chunk(type, values.data(), bytes.data(), 0, 1, static_cast<int64_t>(values.size()), nullptr);
  ggml_get_type_traits(type)->to_float(bytes.data(), values.data(), static_cast<int64_t>(values.size()));
  return values;
}

void linear(ggml_type type, int64_t n, int64_t k, int64_t rows, bool has_bias, const Then& then) {
  Maker m;
  const uint32_t in = m.input("x", F32, {rows, k});
  const uint32_t ws = m.shape({k, n, 1, 1}), bs = m.shape({n, 1, 1, 1});
  const uint32_t x = m.input_leaf(in, GGML_TYPE_F32, m.shape({k, rows, 1, 1}));
  std::vector<uint32_t> src{m.weight_leaf(m.weight_slot("w", ws), 255, ws), x};
  if (has_bias) src.push_back(m.weight_leaf(m.weight_slot("b", bs, GGML_TYPE_F32), GGML_TYPE_F32, bs));
  m.output(m.n(fb::CreateMulMat(m.b, epilogue(m, then)), src, GGML_TYPE_F32, m.shape({n, rows, 1, 1})), {rows, n});
  auto ir_graph = parse(m.finish());
  CHECK_OK(ir_graph.status());
  if (!ir_graph.ok()) return;
  Store store(**ir_graph);
  const auto weights = noise(size_t(n * k), 5), bias = noise(size_t(n), 6), data = noise(size_t(rows * k), 7);
  store.set_weight("w", type, weights);
  if (has_bias) store.set_weight("b", GGML_TYPE_F32, bias);
  const auto w = rounded(type, weights);
  std::vector<float> want;
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t i = 0; i < n; ++i) {
      double sum = has_bias ? bias[size_t(i)] : 0;
      for (int64_t j = 0; j < k; ++j) sum += double(w[size_t(i * k + j)]) * data[size_t(r * k + j)];
      want.push_back(static_cast<float>(apply(then, sum)));
    }
  char what[100];
  std::snprintf(what, sizeof(what), "%s %dx%d times %d, bias %d, activation %d", ggml_type_name(type), int(n), int(k),
                int(rows), has_bias, then.activation);
  check(what, **ir_graph, store, {Arg::floats({rows, k}, data)}, want, type != GGML_TYPE_F32, k);
}

struct Conv {
  int64_t w = 7, h = 6, c = 4, count = 1, oc = 5, kw = 3, kh = 3;
  int sw = 1, sh = 1, pw = 1, ph = 1, dw = 1, dh = 1;
  bool depthwise = false;
  ggml_type type = GGML_TYPE_F32;
  Then then;
};

void convolution(const Conv& o) {
  const int64_t oc = o.depthwise ? o.c : o.oc, ic = o.depthwise ? 1 : o.c;
  const int64_t ow = (o.w + 2 * o.pw - o.dw * (o.kw - 1) - 1) / o.sw + 1;
  const int64_t oh = (o.h + 2 * o.ph - o.dh * (o.kh - 1) - 1) / o.sh + 1;
  const std::vector<int64_t> dims{o.count, o.c, o.h, o.w};
  Maker m;
  const uint32_t x = m.input_leaf(m.input("x", F32, dims), GGML_TYPE_F32, m.shape({o.w, o.h, o.c, o.count}));
  const uint32_t ks = m.shape({o.kw, o.kh, ic, oc}), bs = m.shape({oc, 1, 1, 1});
  const uint32_t k =
      m.weight_leaf(m.weight_slot("k", ks, static_cast<uint8_t>(o.type)), static_cast<uint8_t>(o.type), ks);
  const uint32_t b = m.weight_leaf(m.weight_slot("b", bs, GGML_TYPE_F32), GGML_TYPE_F32, bs);
  m.output(m.n(fb::CreateConv2d(m.b, o.sw, o.sh, o.pw, o.ph, o.dw, o.dh, epilogue(m, o.then)), {k, x, b}, GGML_TYPE_F32,
               m.shape({ow, oh, oc, o.count})),
           {o.count, oc, oh, ow});
  auto ir_graph = parse(m.finish());
  CHECK_OK(ir_graph.status());
  if (!ir_graph.ok()) return;
  Store store(**ir_graph);
  const auto kernel = noise(size_t(o.kw * o.kh * ic * oc), 8), bias = noise(size_t(oc), 9);
  const auto image = noise(size_t(o.w * o.h * o.c * o.count), 10);
  store.set_weight("k", o.type, kernel);
  store.set_weight("b", GGML_TYPE_F32, bias);
  const auto w = rounded(o.type, kernel);
  std::vector<float> want;
  for (int64_t n = 0; n < o.count; ++n)
    for (int64_t q = 0; q < oc; ++q)
      for (int64_t y = 0; y < oh; ++y)
        for (int64_t z = 0; z < ow; ++z) {
          double sum = bias[size_t(q)];
          for (int64_t c = 0; c < ic; ++c)
            for (int64_t i = 0; i < o.kh; ++i)
              for (int64_t j = 0; j < o.kw; ++j) {
                const int64_t row = y * o.sh + i * o.dh - o.ph, column = z * o.sw + j * o.dw - o.pw;
                if (row < 0 || row >= o.h || column < 0 || column >= o.w) continue;
                const int64_t channel = o.depthwise ? q : c;
                sum += double(image[size_t(((n * o.c + channel) * o.h + row) * o.w + column)]) *
                       w[size_t(((q * ic + c) * o.kh + i) * o.kw + j)];
              }
          want.push_back(static_cast<float>(apply(o.then, sum)));
        }
  char what[200];
  std::snprintf(what, sizeof(what),
                "%s %lldx%lldx%lldx%lld by %lldx%lldx%lld, stride %d %d, padding %d %d, dilation %d %d",
                o.depthwise ? "depthwise" : "dense", (long long)o.count, (long long)o.c, (long long)o.h, (long long)o.w,
                (long long)oc, (long long)o.kh, (long long)o.kw, o.sh, o.sw, o.ph, o.pw, o.dh, o.dw);
  check(what, **ir_graph, store, {Arg::floats(dims, image)}, want, o.type != GGML_TYPE_F32);
}

struct Volume {
  int64_t size[3] = {7, 6, 5}, kernel[3] = {3, 3, 3};  // width, height, depth
  int64_t channels = 4, outputs = 5, count = 1;
  int stride[3] = {1, 1, 1}, padding[3] = {1, 1, 1}, dilation[3] = {1, 1, 1};
  bool has_bias = true;
  ggml_type type = GGML_TYPE_F32;
  Then then;
};

void volume(const Volume& o) {
  int64_t out[3];
  for (int i = 0; i < 3; ++i)
    out[i] = (o.size[i] + 2 * o.padding[i] - o.dilation[i] * (o.kernel[i] - 1) - 1) / o.stride[i] + 1;
  const std::vector<int64_t> dims{o.count * o.channels, o.size[2], o.size[1], o.size[0]};
  Maker m;
  const uint32_t x = m.input_leaf(m.input("x", F32, dims), GGML_TYPE_F32,
                                  m.shape({o.size[0], o.size[1], o.size[2], o.count * o.channels}));
  const uint32_t ks = m.shape({o.kernel[0], o.kernel[1], o.kernel[2], o.outputs * o.channels}),
                 bs = m.shape({o.outputs, 1, 1, 1});
  std::vector<uint32_t> src{
      m.weight_leaf(m.weight_slot("k", ks, static_cast<uint8_t>(o.type)), static_cast<uint8_t>(o.type), ks), x};
  if (o.has_bias) src.push_back(m.weight_leaf(m.weight_slot("b", bs, GGML_TYPE_F32), GGML_TYPE_F32, bs));
  m.output(m.n(fb::CreateConv3d(m.b, static_cast<int>(o.channels), o.stride[0], o.stride[1], o.stride[2], o.padding[0],
                                o.padding[1], o.padding[2], o.dilation[0], o.dilation[1], o.dilation[2],
                                epilogue(m, o.then)),
               src, GGML_TYPE_F32, m.shape({out[0], out[1], out[2], o.outputs * o.count})),
           {o.outputs * o.count, out[2], out[1], out[0]});
  auto ir_graph = parse(m.finish());
  CHECK_OK(ir_graph.status());
  if (!ir_graph.ok()) return;
  Store store(**ir_graph);
  const int64_t plane = o.size[0] * o.size[1], taps = o.kernel[0] * o.kernel[1] * o.kernel[2];
  const auto kernel = noise(size_t(taps * o.channels * o.outputs), 8), bias = noise(size_t(o.outputs), 9);
  const auto data = noise(size_t(plane * o.size[2] * o.channels * o.count), 10);
  store.set_weight("k", o.type, kernel);
  if (o.has_bias) store.set_weight("b", GGML_TYPE_F32, bias);
  const auto w = rounded(o.type, kernel);
  std::vector<float> want;
  for (int64_t r = 0; r < o.count * o.outputs; ++r)
    for (int64_t z = 0; z < out[2]; ++z)
      for (int64_t y = 0; y < out[1]; ++y)
        for (int64_t i = 0; i < out[0]; ++i) {
          const int64_t n = r / o.outputs, q = r % o.outputs, at[3] = {i, y, z};
          double sum = o.has_bias ? bias[size_t(q)] : 0;
          for (int64_t c = 0; c < o.channels; ++c)
            for (int64_t t = 0; t < taps; ++t) {
              const int64_t tap[3] = {t % o.kernel[0], t / o.kernel[0] % o.kernel[1], t / (o.kernel[0] * o.kernel[1])};
              int64_t from[3];
              bool inside = true;
              for (int d = 0; d < 3; ++d) {
                from[d] = at[d] * o.stride[d] + tap[d] * o.dilation[d] - o.padding[d];
                inside = inside && from[d] >= 0 && from[d] < o.size[d];
              }
              if (!inside) continue;
              sum += double(data[size_t(((n * o.channels + c) * o.size[2] + from[2]) * plane + from[1] * o.size[0] +
                                        from[0])]) *
                     w[size_t((q * o.channels + c) * taps + t)];
            }
          want.push_back(static_cast<float>(apply(o.then, sum)));
        }
  char what[200];
  std::snprintf(what, sizeof(what), "volume %lldx%lldx%lldx%lldx%lld by %lldx%lldx%lldx%lld", (long long)o.count,
                (long long)o.channels, (long long)o.size[2], (long long)o.size[1], (long long)o.size[0],
                (long long)o.outputs, (long long)o.kernel[2], (long long)o.kernel[1], (long long)o.kernel[0]);
  check(what, **ir_graph, store, {Arg::floats(dims, data)}, want, o.type != GGML_TYPE_F32);
}

void volumes() {
  auto with = [](const std::function<void(Volume&)>& change) {
    Volume o;
    change(o);
    volume(o);
  };
  with([](Volume&) {});
  with([](Volume& o) { o.count = 3, o.outputs = 17, o.size[0] = 13, o.has_bias = false; });
  with([](Volume& o) { o.stride[0] = 2, o.stride[2] = 2, o.size[0] = 21, o.size[2] = 9; });
  with([](Volume& o) { o.stride[1] = 3, o.dilation[0] = 2, o.dilation[2] = 2, o.padding[2] = 3, o.size[1] = 10; });
  with([](Volume& o) { o.kernel[2] = 5, o.padding[2] = 4, o.size[2] = 3; });  // planes outside on both sides
  with([](Volume& o) { o.kernel[0] = o.kernel[1] = 1, o.padding[0] = o.padding[1] = 0, o.channels = 33; });
  with([](Volume& o) { o.kernel[2] = 1, o.padding[2] = 0, o.channels = 1, o.size[0] = 50; });
  with([](Volume& o) { o.then = {fb::Activation_Silu, -0.25f, 0.5f}, o.count = 2; });
  with([](Volume& o) { o.type = GGML_TYPE_F16; });
}

/// Volumes large enough that panels share what they pack (conv_bands.h); with AVX2 only where kernels are few.
void banded_volumes() {
  auto with = [](const std::function<void(Volume&)>& change) {
    for (int64_t outputs : {7, 18}) {
      Volume o;
      o.size[0] = 24, o.size[1] = 13, o.size[2] = 6, o.channels = 6, o.outputs = outputs;
      change(o);
      volume(o);
    }
  };
  with([](Volume&) {});
  with([](Volume& o) { o.count = 2, o.outputs = 9, o.then = {fb::Activation_Silu, -0.25f, 0.5f}; });
  with([](Volume& o) { o.type = GGML_TYPE_F16, o.outputs = 35; });
  with([](Volume& o) { o.size[0] = o.size[1] = 7, o.channels = 9; });  // a tail
  with(
      [](Volume& o) { o.size[0] = 17, o.size[1] = 3, o.channels = 9, o.padding[2] = 4; });  // and planes that meet none
  with([](Volume& o) { o.padding[0] = o.padding[1] = o.padding[2] = 0; });
  with([](Volume& o) { o.padding[0] = 5, o.padding[1] = 4; });  // more than the kernel reaches
  for (int stride : {2, 3}) with([&](Volume& o) { o.stride[0] = o.stride[1] = o.stride[2] = stride, o.size[0] = 47; });
  with([](Volume& o) { o.stride[0] = 2, o.padding[0] = 0, o.size[0] = 49; });
  with([](Volume& o) { o.stride[1] = 4, o.size[1] = 33; });
  with([](Volume& o) { o.stride[2] = 3, o.size[2] = 11; });
  for (int d : {0, 1, 2}) with([&](Volume& o) { o.dilation[d] = 3, o.padding[d] = 3, o.size[2] = 8; });
  with([](Volume& o) { o.dilation[2] = 2, o.stride[2] = 2, o.padding[2] = 2, o.size[2] = 9; });
  with([](Volume& o) { o.dilation[1] = 3, o.stride[1] = 2, o.padding[1] = 3, o.size[1] = 25; });
  with([](Volume& o) { o.kernel[0] = o.kernel[1] = 1, o.padding[0] = o.padding[1] = 0, o.channels = 20; });
  with([](Volume& o) { o.kernel[0] = o.kernel[1] = o.kernel[2] = 5, o.padding[0] = o.padding[1] = o.padding[2] = 2; });
  with([](Volume& o) { o.kernel[0] = 2, o.kernel[1] = 4, o.padding[0] = 0; });
  with([](Volume& o) { o.channels = 96, o.outputs = 3, o.size[0] = 60, o.size[1] = 40, o.size[2] = 2; });  // bands
}

/// The same of images.
void banded_images() {
  auto with = [](const std::function<void(Conv&)>& change) {
    for (int64_t outputs : {7, 18}) {
      Conv o;
      o.w = 29, o.h = 25, o.c = 12, o.oc = outputs;
      change(o);
      convolution(o);
    }
  };
  with([](Conv&) {});
  with([](Conv& o) { o.w = o.h = 7, o.c = 40, o.count = 2; });
  with([](Conv& o) { o.c = 130, o.w = 70, o.h = 50, o.oc = 5; });
  with([](Conv& o) { o.w = 128, o.oc = 40; });  // rows as planes
  with([](Conv& o) { o.w = 96, o.kw = 1, o.pw = 0, o.dh = 4, o.ph = 4; });
  with([](Conv& o) { o.w = 224, o.h = 40, o.c = 3, o.kw = o.kh = 7, o.sw = o.sh = 2, o.pw = o.ph = 3, o.oc = 32; });
  with([](Conv& o) { o.sw = o.sh = 2, o.w = 57, o.h = 51, o.oc = 40; });
  with([](Conv& o) { o.pw = o.ph = 0, o.w = 40, o.h = 40; });
  for (fb::Activation activation : {fb::Activation_None, fb::Activation_GeluErf})
    with([&](Conv& o) { o.then.activation = activation, o.w = 51, o.h = 20, o.type = GGML_TYPE_F16; });
}

void convolutions() {
  for (bool depthwise : {false, true}) {
    auto with = [&](const std::function<void(Conv&)>& change) {
      Conv o;
      o.depthwise = depthwise;
      change(o);
      convolution(o);
    };
    with([](Conv&) {});
    with([](Conv& o) { o.kw = o.kh = 1, o.pw = o.ph = 0, o.w = 9, o.h = 9, o.oc = 37, o.c = 19; });
    with([](Conv& o) { o.sw = o.sh = 2, o.w = 33, o.h = 21; });
    with([](Conv& o) { o.sw = o.sh = 2, o.kw = o.kh = 7, o.pw = o.ph = 3, o.w = 40, o.h = 31; });
    with([](Conv& o) { o.sw = 3, o.sh = 4, o.kw = 5, o.kh = 2, o.pw = 4, o.ph = 0, o.w = 50, o.h = 11; });
    with([](Conv& o) { o.dw = 2, o.dh = 3, o.pw = 2, o.ph = 3, o.w = 20, o.h = 14; });
    with([](Conv& o) { o.dw = 3, o.sw = 2, o.pw = 5, o.w = 35, o.h = 9; });
    with([](Conv& o) { o.kw = o.kh = 5, o.pw = o.ph = 2, o.w = 112, o.h = 10, o.c = 3, o.oc = 17; });
    with([](Conv& o) { o.count = 3, o.w = 13, o.h = 17, o.oc = 16; });
    with([](Conv& o) { o.h = 1, o.kh = 1, o.ph = 0, o.w = 100, o.oc = 33; });
    with([](Conv& o) { o.w = 2, o.h = 2; });                             // smaller than the kernel
    with([](Conv& o) { o.w = 1, o.h = 1, o.pw = o.ph = 9, o.sw = 2; });  // mostly outside
    with([](Conv& o) { o.then = {fb::Activation_None, 0.0f, 6.0f}; });
    for (int a = fb::Activation_MIN; a <= fb::Activation_MAX; ++a)
      with([&](Conv& o) { o.then = {static_cast<fb::Activation>(a), -0.25f, 0.5f}, o.w = 19; });
  }
  for (int64_t outputs : {1, 7, 8, 15, 16, 17, 24, 40}) {
    Conv o;
    o.oc = outputs;
    convolution(o);
  }
  for (int64_t pixels : {25, 49, 51, 54, 55})
    for (fb::Activation activation : {fb::Activation_None, fb::Activation_Silu}) {
      Conv o;
      o.w = pixels, o.h = 1, o.kh = 1, o.ph = 0, o.c = 50, o.oc = 21, o.count = 2, o.then.activation = activation;
      convolution(o);
    }
  Conv half;
  half.type = GGML_TYPE_F16;
  convolution(half);
}

void linears() {
  const Then nothing;
  for (int64_t n : {1, 7, 16, 17, 40}) linear(GGML_TYPE_F32, n, 24, 5, true, nothing);
  for (int64_t k : {1, 3, 8, 17, 31, 32, 100}) linear(GGML_TYPE_F32, 20, k, 9, true, nothing);
  for (int64_t rows : {1, 2, 15, 16, 17, 24, 32, 47, 48, 49, 100, 200})
    linear(GGML_TYPE_F32, 18, 40, rows, true, nothing);
  linear(GGML_TYPE_F32, 20, 6000, 100, true, nothing);  // more than one pass of panels, and parts of sums
  // Last columns without a panel, with whole and with ragged registers of terms and rows.
  for (int64_t rows : {25, 26, 30, 31, 49, 50, 53, 54, 55, 97, 197}) {
    linear(GGML_TYPE_F32, 21, 128, rows, true, {fb::Activation_GeluErf, -kInf, kInf});
    linear(GGML_TYPE_F32, 21, 141, rows, false, {fb::Activation_None, -0.1f, 0.4f});
  }
  linear(GGML_TYPE_F32, 33, 5003, 197, true, {fb::Activation_GeluErf, -kInf, kInf});  // in parts, too
  linear(GGML_TYPE_BF16, 33, 5003, 197, true, {fb::Activation_GeluErf, -kInf, kInf});
  for (ggml_type type : {GGML_TYPE_F16, GGML_TYPE_BF16}) linear(type, 37, 50, 20, true, nothing);
  linear(GGML_TYPE_F16, 20, 9000, 60, true, nothing);
  for (int a = fb::Activation_MIN; a <= fb::Activation_MAX; ++a) {
    linear(GGML_TYPE_F32, 19, 21, 18, true, {static_cast<fb::Activation>(a), -kInf, kInf});
    linear(GGML_TYPE_F32, 19, 21, 18, false, {static_cast<fb::Activation>(a), -0.1f, 0.4f});
  }
  linear(GGML_TYPE_F32, 19, 21, 18, false, {fb::Activation_None, 0.0f, kInf});
}

/// NaN and infinities go through every epilogue, and only to the results that they belong to.
void not_finite() {
  for (size_t s = 1; s < sets().size(); ++s) {
    for (int a = 0; a <= fb::Activation_MAX; ++a) {
      etggml::kernels::PanelProduct p;
      const float weights[2] = {NAN, 1.0f}, panel[48] = {1.0f, INFINITY, -INFINITY, -1000.0f};
      float y[96] = {};
      p.weights = weights, p.weight_stride = 1, p.rows = 2, p.panel = panel, p.k = 1, p.columns = 4;
      p.epilogue = {static_cast<etggml::kernels::Activation>(a), -1e30f, 1e30f};
      p.y = y, p.y_stride = 48;
      sets()[s].kernels->linear.functions.multiply(p);
      for (int c = 0; c < 4; ++c) CHECK(std::isnan(y[c]));
      CHECK(std::isfinite(y[48]) && std::isfinite(y[51]));
      const bool bounded = a == fb::Activation_Sigmoid || a == fb::Activation_HardSigmoid;
      CHECK(y[49] == (bounded ? 1.0f : 1e30f));
    }
  }
}

/// What a residual block adds to a convolution: in every tile and in the tail, the bits of an addition afterwards.
void additions() {
  const int64_t k = 150, stride = 60;
  for (size_t s = 1; s < sets().size(); ++s) {
    const etggml::kernels::PanelFunctions& f = sets()[s].kernels->linear.functions;
    const int width = etggml::kernels::kPanelVectors * f.lanes;
    const auto weights = noise(size_t(f.rows * k), 1), packed = noise(size_t(width * k), 2), bias = noise(16, 3);
    const auto tail = noise(size_t(etggml::kernels::kPanelTail * k), 4), add = noise(size_t(f.rows * stride), 5);
    for (int rows : {1, f.rows / 2, f.rows})
      for (int columns : {1, f.lanes, f.lanes + 3, width - 1, width})
        for (int tails : {0, 1, 4, 5}) {
          if (tails > 0 && columns < width) continue;
          if (tails > 0 && etggml::kernels::tail_columns(width + tails, width, k) == 0) continue;  // narrow registers
          std::vector<float> y(size_t(f.rows * stride)), want = y;
          etggml::kernels::PanelProduct p;
          p.weights = weights.data(), p.weight_stride = p.k = p.tail_stride = k, p.rows = rows;
          p.panel = packed.data(), p.columns = columns, p.tail = tail.data(), p.tail_columns = tails;
          p.bias = bias.data(), p.y = want.data(), p.y_stride = stride;
          f.multiply(p);
          for (int r = 0; r < rows; ++r)
            for (int64_t i = r * stride; i < r * stride + columns + tails; ++i)
              want[size_t(i)] = std::max(0.0f, want[size_t(i)] + add[size_t(i)]);
          p.y = y.data(), p.add = add.data(), p.epilogue.min = 0.0f;
          f.multiply(p);
          CHECK(y == want);
        }
  }
}

void pools() {
  for (bool max : {true, false})
    for (int stride : {1, 2, 3})
      for (int window : {2, 3, 5, 6}) {
        const int64_t w = 37, h = 19, c = 3;
        const int p = window / 2;
        const int64_t ow = (w + 2 * p - window) / stride + 1, oh = (h + 2 * p - window) / stride + 1;
        Maker m;
        const std::vector<int64_t> dims{1, c, h, w};
        const uint32_t x = m.input_leaf(m.input("x", F32, dims), GGML_TYPE_F32, m.shape({w, h, c, 1}));
        m.output(
            m.n(fb::CreatePool2d(m.b, max ? fb::PoolKind_Max : fb::PoolKind_Avg, window, window, stride, stride, p, p),
                {x}, GGML_TYPE_F32, m.shape({ow, oh, c, 1})),
            {1, c, oh, ow});
        auto ir_graph = parse(m.finish());
        CHECK_OK(ir_graph.status());
        if (!ir_graph.ok()) return;
        Store store(**ir_graph);
        const auto image = noise(size_t(w * h * c), 11);
        std::vector<float> want;
        for (int64_t q = 0; q < c; ++q)
          for (int64_t y = 0; y < oh; ++y)
            for (int64_t z = 0; z < ow; ++z) {
              double sum = 0, top = -INFINITY;
              for (int64_t i = y * stride - p; i < y * stride - p + window; ++i)
                for (int64_t j = z * stride - p; j < z * stride - p + window; ++j) {
                  if (i < 0 || i >= h || j < 0 || j >= w) continue;
                  const double pixel = image[size_t((q * h + i) * w + j)];
                  sum += pixel, top = std::max(top, pixel);
                }
              want.push_back(static_cast<float>(max ? top : sum / (window * window)));
            }
        char what[100];
        std::snprintf(what, sizeof(what), "pool %s %d, stride %d", max ? "max" : "mean", window, stride);
        check(what, **ir_graph, store, {Arg::floats(dims, image)}, want);
      }
  for (size_t s = 1; s < sets().size(); ++s) {  // torch's maximum of NaN is NaN, wherever it stands
    float image[20] = {}, y[20];
    image[4] = NAN;
    etggml::kernels::WindowPlane p;
    p.image = image, p.height = 1, p.width = 20, p.window_h = 1, p.window_w = 3, p.padding_w = 1;
    p.y = y, p.out_h = 1, p.out_w = 20;
    sets()[s].kernels->conv.window.max(p);
    for (int i = 0; i < 20; ++i) CHECK(std::isnan(y[i]) == (i >= 3 && i <= 5));
  }
}

/// Every number to one thread, whatever the order in which they come, and the same again in the next run.
void tickets() {
  using Tickets = etggml::kernels::Tickets<int32_t>;
  for (int threads : {1, 2, 3})
    for (int count : {1, 2, 5, 17}) {
      ggml_tensor y{};
      etggml::kernels::set_custom_op(&y, "", int32_t{0});
      for (unsigned run = 1; run < 4; ++run) {
        std::vector<Tickets> asking;
        for (int t = 0; t < threads; ++t) asking.emplace_back(&y, count, t, threads);
        std::vector<int> given(size_t(count), 0);
        for (unsigned turn = run; !asking.empty(); turn = turn * 75 % 65537) {
          const size_t who = turn % asking.size();
          const int64_t ticket = asking[who].take();
          if (ticket < count) {
            CHECK(ticket >= 0);
            ++given[size_t(ticket)];
          } else {
            asking.erase(asking.begin() + std::ptrdiff_t(who));
          }
        }
        for (int times : given) CHECK(times == 1);
      }
    }
}

void set_threads(int count) {
  auto set = reinterpret_cast<ggml_backend_set_n_threads_t>(ggml_backend_reg_get_proc_address(
      ggml_backend_dev_backend_reg(ggml_backend_get_device(cpu_backend())), "ggml_backend_set_n_threads"));
  CHECK(set != nullptr);
  if (set) set(cpu_backend(), count);
}

}  // namespace

int main() {
  tickets();
  for (int threads : {1, 2, 3}) {
    set_threads(threads);
    linears();
    convolutions();
    banded_images();
    banded_volumes();
    volumes();
    pools();
  }
  not_finite();
  additions();
  std::printf("%zu sets, %d failures\n", sets().size(), failures);
  return failures != 0;
}
