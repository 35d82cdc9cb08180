// Compares the CPU kernels of two builds of the library in one process, piece by piece and in turns.
//
//   compare <first.so> <second.so> [lanes] [rounds]
//
// Each module is table.cpp, linked with the objects of a build: compare.sh makes them. Times are CPU time of this
// thread, so that a shared machine does little harm. A line has the median of the second build's time over the first's,
// and the first's in nanoseconds.
#include <dlfcn.h>
#include <time.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "table.h"

using namespace etggml::graph;

namespace {

double now() {
  timespec t;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) * 1e9 + static_cast<double>(t.tv_nsec);
}

struct Floats {
  std::vector<float> memory;
  float* data;
  explicit Floats(size_t n, float low = -1.0f, float high = 1.0f) : memory(n + 1024) {
    static std::mt19937 engine(1);
    std::uniform_real_distribution<float> numbers(low, high);
    for (float& x : memory) x = numbers(engine);
    data = reinterpret_cast<float*>((reinterpret_cast<uintptr_t>(memory.data()) + 1023) / 1024 * 1024);
  }
};

struct Case {
  std::string name;
  std::function<void(const KernelTable&)> run;
};

float* floats(size_t n) {
  static std::vector<Floats>* all = new std::vector<Floats>;
  all->emplace_back(n);
  return all->back().data;
}

void add_rows(std::vector<Case>& cases) {
  float *x = floats(8192), *y = floats(8192), *mask = floats(8192);
  cases.push_back({"unary tanh 4096", [=](const KernelTable& t) { t.unary.tanh(x, 4096, y); }});
  cases.push_back({"unary sigmoid 1003", [=](const KernelTable& t) { t.unary.sigmoid(x, 1003, y); }});
  cases.push_back({"softmax 1000", [=](const KernelTable& t) { t.softmax(x, nullptr, false, 2.0f, 1000, y); }});
  cases.push_back({"softmax 77 mask", [=](const KernelTable& t) { t.softmax(x, mask, true, 2.0f, 77, y); }});
}

void add_windows(std::vector<Case>& cases) {
  WindowPlane p;
  p.image = floats(112 * 112), p.y = floats(112 * 112), p.kernel = floats(64);
  const auto add = [&](const char* name, int64_t size, int64_t window, int64_t stride, int kind) {
    WindowPlane w = p;
    w.height = w.width = size, w.window_h = w.window_w = window, w.stride_h = w.stride_w = stride;
    w.padding_h = w.padding_w = window / 2;
    w.out_h = w.out_w = (size + 2 * (window / 2) - window) / stride + 1;
    if (kind == 0) w.epilogue = {Activation::kHardSwish};
    cases.push_back({name, [=](const KernelTable& t) {
                       (kind == 0 ? t.window.convolve : kind == 1 ? t.window.max : t.window.mean)(w);
                     }});
  };
  add("window conv 3x3 56", 56, 3, 1, 0);
  add("window conv 3x3 s2 112", 112, 3, 2, 0);
  add("window conv 5x5 14", 14, 5, 1, 0);
  add("window conv 7x7 28", 28, 7, 1, 0);
  add("window max 3x3 s2 112", 112, 3, 2, 1);
  add("window mean 3x3 s3 56", 56, 3, 3, 2);
}

void add_recurrence(std::vector<Case>& cases) {
  const auto add = [&](const char* name, Cell cell, int64_t hidden, int64_t columns, bool pack) {
    const int64_t gates = gate_count(cell) * hidden;
    RecurrentLayer layer;
    float* plain = floats(static_cast<size_t>(gates * hidden));
    float* packed = floats(static_cast<size_t>((gates + 256) * hidden));
    layer.w = pack ? plain : packed, layer.bias = floats(static_cast<size_t>(gates));
    layer.hidden = hidden, layer.columns = columns, layer.cell = cell;
    RecurrentStep s;
    s.gates = floats(static_cast<size_t>(gates * columns));
    s.before = floats(static_cast<size_t>(hidden * columns)), s.after = floats(static_cast<size_t>(hidden * columns));
    s.cell_before = floats(static_cast<size_t>(hidden * columns));
    s.cell_after = floats(static_cast<size_t>(hidden * columns));
    cases.push_back({name, [=](const KernelTable& t) {
                       if (pack) return t.recurrence.pack(layer, 0, packed);
                       const int64_t units = t.recurrence.block_units(cell);
                       t.recurrence.step(layer, s, 0, (hidden + units - 1) / units);
                     }});
  };
  add("recurrence pack lstm 200", Cell::kLstm, 200, 1, true);
  add("recurrence lstm 128 x1", Cell::kLstm, 128, 1, false);
  add("recurrence lstm 128 x6", Cell::kLstm, 128, 6, false);
  add("recurrence gru 100 x2", Cell::kGru, 100, 2, false);
  add("recurrence tanh 128 x1", Cell::kTanh, 128, 1, false);
}

void add_attention(std::vector<Case>& cases) {
  static uint8_t visible[kAttentionTile];
  for (int i = 0; i < kAttentionTile; ++i) visible[i] = static_cast<uint8_t>(i);
  uint16_t* k16 = reinterpret_cast<uint16_t*>(floats(kAttentionTile * 256));
  for (int i = 0; i < kAttentionTile * 512; ++i) k16[i] = static_cast<uint16_t>(0x3000 + i % 0x0700);
  float *q = floats(64 * 256), *acc = floats(64 * 256), *max = floats(64), *sum = floats(64), *k = floats(32 * 256);
  const auto tile = [&](const char* name, int rows, int d, bool f16) {
    AttentionTile a;
    a.k = a.v = f16 ? reinterpret_cast<const char*>(k16) : reinterpret_cast<const char*>(k);
    a.k_stride = a.v_stride = d * (f16 ? 2 : 4);
    a.visible = visible, a.count = kAttentionTile, a.rows = rows, a.dk = a.dv = d, a.q = q;
    a.acc = acc, a.max = max, a.sum = sum;
    cases.push_back({name, [=](const KernelTable& t) { (f16 ? t.tile.f16 : t.tile.f32)(a); }});
  };
  tile("attention tile f16 64 x1", 1, 64, true);
  tile("attention tile f16 128 x4", 4, 128, true);
  tile("attention tile f32 64 x3", 3, 64, false);
  static bool seen[kAttentionTile];
  std::fill_n(seen, kAttentionTile, true);
  AttentionOperands operands;
  operands.keys = floats(32 * 256), operands.values = floats(32 * 256);
  cases.push_back({"attention convert f16 128", [=](const KernelTable& t) {
                     t.block.convert_f16(reinterpret_cast<const char*>(k16), 256, 128,
                                         reinterpret_cast<const char*>(k16), 256, 128, seen, 32, operands);
                   }});
  static const float* bias[64];
  static float slopes[64];
  for (int i = 0; i < 64; ++i) bias[i] = k, slopes[i] = 1.0f;
  for (int d : {64, 128}) {
    AttentionBlock b;
    b.operands = operands, b.dk = b.dv = d, b.rows = 64, b.q = q, b.bias = bias, b.slopes = slopes;
    b.acc = acc, b.max = max, b.sum = sum;
    cases.push_back({"attention block 64 x " + std::to_string(d), [=](const KernelTable& t) { t.block.multiply(b); }});
  }
}

void add_products(std::vector<Case>& cases, const PanelFunctions& f) {
  const int lanes = f.lanes, width = kPanelVectors * lanes;
  constexpr int kTerms = 576;
  float *w = floats(kTerms * 16), *panel = floats(kTerms * 48), *y = floats(64 * 64), *bias = floats(64);
  PanelProduct p;
  p.weights = w, p.weight_stride = p.k = kTerms, p.rows = lanes, p.panel = panel, p.bias = bias;
  p.y = y, p.y_stride = 64;
  p.tail = floats(kTerms * kPanelTail), p.tail_stride = kTerms;
  const auto add = [&](const char* name, int columns, int tail, bool transposed, Activation activation) {
    PanelProduct q = p;
    q.columns = columns, q.tail_columns = tail, q.transposed = transposed, q.epilogue.activation = activation;
    cases.push_back({name, [=](const KernelTable& t) { t.panel.multiply(q); }});
  };
  add("panel 3 registers", width, 0, false, Activation::kNone);
  add("panel 3 registers transposed gelu", width, 0, true, Activation::kGeluErf);
  add("panel 2 registers", width - lanes - 3, 0, false, Activation::kNone);
  add("panel 1 register", lanes, 0, false, Activation::kSilu);
  add("panel tail of 4", width, 4, false, Activation::kNone);
  static std::vector<PanelRow> at;
  for (int i = 0; i < kTerms; ++i) at.push_back({i * width, 0});
  static std::vector<uint8_t> masks(1024);
  const uint16_t all[3] = {0xffff, 0xffff, 0xfff0};
  f.make_masks(all, 3, masks.data());
  p.at = at.data(), p.masks = masks.data(), p.period = p.to = kTerms;
  add("panel scattered", width, 0, false, Activation::kNone);
}

void add_packing(std::vector<Case>& cases, const PanelFunctions& f) {
  const int lanes = f.lanes, width = kPanelVectors * lanes;
  float *x = floats(64 * 1024), *panel = floats(64 * 1024), *y = floats(64 * 64), *bias = floats(64);
  cases.push_back({"panel pack rows", [=](const KernelTable& t) { t.panel.pack_rows(x, 500, width, 0, 500, panel); }});
  for (int64_t stride : {1, 2, 3}) {
    PixelSource s;
    s.image = x, s.channels = 8, s.height = s.width = 28, s.plane_stride = 28 * 28, s.taps = 9;
    s.kernel_h = s.kernel_w = 3, s.stride_w = stride, s.dilation_h = s.dilation_w = 1;
    static std::vector<PixelRun> runs[4];
    for (int c = 0; c < width; c += 8) runs[stride].push_back({c, 8, c / 8, 1});
    const auto& list = runs[stride];
    cases.push_back({"panel pack pixels stride " + std::to_string(stride), [=, &list](const KernelTable& t) {
                       t.panel.pack_pixels(s, list.data(), static_cast<int>(list.size()), width, panel);
                     }});
  }
  static std::vector<PixelPiece> pieces;
  const auto every = static_cast<uint16_t>((1 << lanes) - 1);
  for (int i = 0; i < 64; ++i) {
    pieces.push_back({i * lanes + 3, i * lanes, every, every, every, true});
    pieces.push_back({i * lanes + 5, i * lanes, 3, 3, 3, false});
  }
  for (int64_t stride : {1, 2}) {
    cases.push_back({"panel copy pixels stride " + std::to_string(stride),
                     [=](const KernelTable& t) { t.panel.copy_pixels(pieces.data(), 128, stride, x, panel); }});
  }
  Epilogue gelu;
  gelu.activation = Activation::kGeluTanh;
  cases.push_back({"panel finish gelu", [=](const KernelTable& t) { t.panel.finish(bias, gelu, 29, 48, y, 64); }});
  const auto* halves = reinterpret_cast<const uint16_t*>(x);
  cases.push_back({"panel widen f16", [=](const KernelTable& t) { t.panel.widen_f16(halves, 4093, panel); }});
  cases.push_back({"panel widen bf16", [=](const KernelTable& t) { t.panel.widen_bf16(halves, 4093, panel); }});
}

KernelTable load(const char* path, int lanes) {
  void* module = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  void* symbol = module ? dlsym(module, "kernel_table") : nullptr;
  if (!symbol) std::fprintf(stderr, "%s\n", dlerror()), std::exit(1);
  return reinterpret_cast<KernelTable (*)(int)>(symbol)(lanes);
}

double median(std::vector<double> x) {
  std::nth_element(x.begin(), x.begin() + static_cast<std::ptrdiff_t>(x.size() / 2), x.end());
  return x[x.size() / 2];
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) return std::fprintf(stderr, "compare <first.so> <second.so> [lanes] [rounds]\n"), 2;
  const int lanes = argc > 3 ? std::atoi(argv[3]) : 16, rounds = argc > 4 ? std::atoi(argv[4]) : 41;
  const KernelTable builds[2] = {load(argv[1], lanes), load(argv[2], lanes)};
  if (builds[0].panel.lanes != lanes || builds[1].panel.lanes != lanes) {
    return std::fprintf(stderr, "a build has no kernels of %d lanes here\n", lanes), 1;
  }
  std::vector<Case> cases;
  add_rows(cases);
  add_windows(cases);
  add_recurrence(cases);
  add_attention(cases);
  add_products(cases, builds[0].panel);
  add_packing(cases, builds[0].panel);
  for (const Case& c : cases) {
    // As many calls as take about 200 microseconds.
    int calls = 1;
    for (double took = 0; took < 2e5; calls *= 2) {
      const double start = now();
      for (int i = 0; i < calls; ++i) c.run(builds[0]);
      took = now() - start;
    }
    std::vector<double> times[2], ratios;
    for (int round = 0; round < rounds; ++round) {
      double took[2];
      for (int turn = 0; turn < 2; ++turn) {
        const int build = (turn + round) % 2;
        const double start = now();
        for (int i = 0; i < calls; ++i) c.run(builds[build]);
        took[build] = (now() - start) / calls;
      }
      times[0].push_back(took[0]);
      ratios.push_back(took[1] / took[0]);
    }
    std::printf("%-36s %6.3f  %10.0f ns\n", c.name.c_str(), median(ratios), median(times[0]));
    std::fflush(stdout);
  }
  return 0;
}
