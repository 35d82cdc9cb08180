// Recurrent layers: our kernel, on one thread and on several, and ggml's nodes for each step.
#include "ir_maker.h"
#include "ir_run.h"
#include "kernels/cpu_kernels.h"

using namespace irtest;
using etggml::kernels::CpuKernels;
using etggml::kernels::CpuKernelSet;

namespace {

struct Layer {
  fb::Cell cell;
  int64_t hidden, columns, steps;
  bool reverse;
  int64_t rows() const { return hidden * (cell == fb::Cell_Lstm ? 4 : cell == fb::Cell_Gru ? 3 : 1); }
  bool lstm() const { return cell == fb::Cell_Lstm; }
};

void set_threads(int threads) {
  auto set = reinterpret_cast<ggml_backend_set_n_threads_t>(ggml_backend_reg_get_proc_address(
      ggml_backend_dev_backend_reg(ggml_backend_get_device(cpu_backend())), "ggml_backend_set_n_threads"));
  CHECK(set != nullptr);
  if (set) set(cpu_backend(), threads);
}

Result<std::shared_ptr<const Graph>> program_of(const Layer& l, int64_t declared_steps, int sources) {
  Maker m;
  const int64_t h = l.hidden, n = l.columns, t = l.steps, r = l.rows();
  const auto leaf = [&](const char* name, std::vector<int64_t> dims, std::vector<int64_t> ne) {
    return m.input_leaf(m.input(name, F32, dims), GGML_TYPE_F32, m.shape(ne));
  };
  std::vector<uint32_t> src{leaf("w", {r, h}, {h, r, 1, 1}), leaf("gates", {t, n, r}, {r, n, t, 1}),
                            leaf("bias", {r}, {r, 1, 1, 1}), leaf("hidden", {n, h}, {h, n, 1, 1})};
  if (sources > 4) src.push_back(leaf("state", {n, h}, {h, n, 1, 1}));
  m.output(m.n(fb::CreateRecurrence(m.b, l.cell, l.reverse), src, GGML_TYPE_F32, m.shape({h, n, declared_steps, 1})),
           {declared_steps, n, h});
  return parse(m.finish());
}

double sigmoid(double x) { return 1.0 / (1.0 + std::exp(-x)); }

/// The definition, in doubles.
std::vector<float> reference(const Layer& l, const std::vector<float>& w, const std::vector<float>& gates,
                             const std::vector<float>& bias, const std::vector<float>& hidden,
                             const std::vector<float>& state) {
  const auto h = size_t(l.hidden), n = size_t(l.columns), t = size_t(l.steps), r = size_t(l.rows());
  std::vector<double> now(hidden.begin(), hidden.end()), cell(state.begin(), state.end()), own(r), in(r);
  std::vector<float> out((t + l.lstm()) * n * h);
  for (size_t i = 0; i < t; ++i) {
    const size_t at = l.reverse ? t - 1 - i : i;
    for (size_t c = 0; c < n; ++c) {
      for (size_t row = 0; row < r; ++row) {
        own[row] = bias[row], in[row] = gates[(at * n + c) * r + row];
        for (size_t k = 0; k < h; ++k) own[row] += double(w[row * h + k]) * now[c * h + k];
      }
      for (size_t u = 0; u < h; ++u) {
        double& y = now[c * h + u];
        const auto both = [&](size_t g) { return own[g * h + u] + in[g * h + u]; };
        if (l.cell == fb::Cell_Tanh) y = std::tanh(both(0));
        if (l.cell == fb::Cell_Relu) y = std::max(0.0, both(0));
        if (l.cell == fb::Cell_Lstm) {
          double& s = cell[c * h + u];
          s = sigmoid(both(1)) * s + sigmoid(both(0)) * std::tanh(both(2));
          y = sigmoid(both(3)) * std::tanh(s);
        }
        if (l.cell == fb::Cell_Gru) {
          const double fresh = std::tanh(in[2 * h + u] + sigmoid(both(0)) * own[2 * h + u]);
          y = fresh + sigmoid(both(1)) * (y - fresh);
        }
        out[(at * n + c) * h + u] = static_cast<float>(y);
      }
    }
  }
  for (size_t i = 0; l.lstm() && i < n * h; ++i) out[t * n * h + i] = static_cast<float>(cell[i]);
  return out;
}

void layer(const Layer& l) {
  auto ir_graph = program_of(l, l.steps + l.lstm(), l.lstm() ? 5 : 4);
  CHECK_OK(ir_graph.status());
  if (!ir_graph.ok()) return;
  const int64_t h = l.hidden, n = l.columns, t = l.steps, r = l.rows();
  auto w = noise(size_t(r * h), 1), gates = noise(size_t(t * n * r), 2), bias = noise(size_t(r), 3);
  const auto hidden = noise(size_t(n * h), 4), state = noise(size_t(n * h), 5);
  for (float& x : w) x *= 0.3f;
  std::vector<Arg> args{Arg::floats({r, h}, w), Arg::floats({t, n, r}, gates), Arg::floats({r}, bias),
                        Arg::floats({n, h}, hidden)};
  if (l.lstm()) args.push_back(Arg::floats({n, h}, state));
  const auto want = reference(l, w, gates, bias, hidden, l.lstm() ? state : std::vector<float>());
  const CpuKernelSet set(nullptr, 1, "recurrence");
  for (int threads : {0, 1, 2, 3}) {
    set_threads(std::max(threads, 1));
    CpuKernels kernels(set);
    etggml::graph::BuildOptions options;
    if (threads > 0) options.kernels = &kernels;
    Store store(**ir_graph);
    auto out = run(**ir_graph, store, args, options);
    CHECK_OK(out.status());
    if (!out.ok()) continue;
    CHECK(out->values[0].size() == want.size());
    for (size_t i = 0; i < want.size(); ++i)
      CHECK(std::fabs(out->values[0][i] - want[i]) <= 3e-6 * (1 + std::fabs(want[i])));
  }
  set_threads(1);
}

void refused(const Layer& l, int64_t declared_steps, int sources, const char* why) {
  auto ir_graph = program_of(l, declared_steps, sources);
  if (ir_graph.ok()) {
    Store store(**ir_graph);
    auto out = run(**ir_graph, store,
                   {Arg::floats({l.rows(), l.hidden}, noise(size_t(l.rows() * l.hidden), 1)),
                    Arg::floats({l.steps, l.columns, l.rows()}, noise(size_t(l.steps * l.columns * l.rows()), 2)),
                    Arg::floats({l.rows()}, noise(size_t(l.rows()), 3)),
                    Arg::floats({l.columns, l.hidden}, noise(size_t(l.columns * l.hidden), 4))});
    CHECK(!out.ok());
    CHECK(out.status().message.find(why) != std::string::npos);
    return;
  }
  CHECK(ir_graph.status().message.find(why) != std::string::npos);
}

}  // namespace

int main() {
  current = "layers";
  for (const fb::Cell cell : {fb::Cell_Tanh, fb::Cell_Relu, fb::Cell_Lstm, fb::Cell_Gru}) {
    for (const int64_t hidden : {1, 5, 16, 33, 70, 130}) {
      for (const int64_t columns : {1, 2, 3, 4, 5, 6, 7, 13}) {
        layer({cell, hidden, columns, 1 + hidden % 4, columns % 2 == 0});
      }
    }
  }
  layer({fb::Cell_Gru, 8, 2, 300, false});
  current = "refusals";
  refused({fb::Cell_Lstm, 4, 2, 3, false}, 4, 4, "src has 4 values, this cell takes 5");
  refused({fb::Cell_Gru, 4, 2, 3, false}, 3, 5, "src has 5 values, this cell takes 4");
  refused({fb::Cell_Gru, 4, 2, 3, false}, 4, 4, "shape says");
  refused({static_cast<fb::Cell>(9), 4, 2, 3, false}, 3, 4, "cell 9 is unknown");
  return failures == 0 ? 0 : 1;
}
