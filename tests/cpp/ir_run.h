// Runs GGIR payloads on ggml's CPU backend.
#pragma once

#include <dlfcn.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "ggml-alloc.h"
#include "ggml-backend.h"
#include "graph/build.h"
#include "graph/host_fill.h"
#include "ir_maker.h"
#include "nmse.h"

namespace irtest {

/// ggml's CPU backend, one thread.
ggml_backend_t cpu_backend();

/// An argument of a call.
struct Arg {
  int32_t dtype = F32;
  std::vector<int64_t> dims;
  std::vector<uint8_t> bytes;
  fb::InputKind kind = fb::InputKind_Tensor;

  template <class T>
  static Arg of(Dtype dtype, std::vector<int64_t> dims, const std::vector<T>& values) {
    Arg a;
    a.dtype = dtype;
    a.dims = std::move(dims);
    a.bytes.resize(values.size() * sizeof(T));
    if (!a.bytes.empty()) std::memcpy(a.bytes.data(), values.data(), a.bytes.size());
    return a;
  }
  static Arg floats(std::vector<int64_t> dims, const std::vector<float>& v) { return of(F32, std::move(dims), v); }
  static Arg longs(std::vector<int64_t> dims, const std::vector<int64_t>& v) { return of(I64, std::move(dims), v); }
  InputView view() const { return {kind, dtype, static_cast<int32_t>(dims.size()), dims.data(), bytes.data()}; }
};

/// Weights, states and constants in CPU memory; states live as long as it does, so several runs share them.
class Store : public etggml::graph::Leaves {
 public:
  explicit Store(const Graph& ir_graph) : ir_graph_(ir_graph) {}
  ~Store() override;

  ggml_tensor* weight(uint32_t slot) override;
  ggml_tensor* state(uint32_t slot) override;
  ggml_tensor* constant(uint32_t index) override;

  /// F32 contents of a weight, converted to `type` (the GGUF's).
  void set_weight(const std::string& name, ggml_type type, std::vector<float> values) {
    weights_[name] = {type, std::move(values)};
  }
  ggml_type cache_type = GGML_TYPE_F16;

 private:
  ggml_tensor* tensor(const std::string& name, ggml_type type, const std::array<int64_t, 4>& ne);
  void upload(ggml_tensor* t, const std::vector<float>& values);

  const Graph& ir_graph_;
  std::map<std::string, std::pair<ggml_type, std::vector<float>>> weights_;
  std::map<std::string, ggml_tensor*> made_;
  std::vector<ggml_context*> contexts_;
  std::vector<ggml_backend_buffer_t> buffers_;
};

struct Outputs {
  std::vector<std::vector<float>> values;  // integers converted
  std::vector<std::array<int64_t, 4>> ne;
  int nodes = 0;
};

/// bind + build + allocate + fill + compute + read.
Result<Outputs> run(const Graph& ir_graph, Store& store, const std::vector<Arg>& args,
                    const etggml::graph::BuildOptions& options = {});
/// The same from given symbols instead of bind(); `args` by input.
Result<Outputs> run_at(const Graph& ir_graph, Store& store, const std::vector<int64_t>& symbols,
                       const std::vector<InputView>& views, const etggml::graph::BuildOptions& options = {},
                       size_t max_bytes = SIZE_MAX);

/// Deterministic numbers in (-1, 1).
std::vector<float> noise(size_t n, uint32_t seed);

inline ggml_backend_t cpu_backend() {
  static ggml_backend_t backend = [] {
    // The module lies beside libggml-base, wherever that was found.
    Dl_info info{};
    dladdr(reinterpret_cast<const void*>(&ggml_init), &info);
    std::string directory = info.dli_fname ? info.dli_fname : "";
    directory.resize(directory.find_last_of('/') == std::string::npos ? 0 : directory.find_last_of('/'));
    ggml_backend_load_all_from_path(directory.c_str());
    ggml_backend_t b = ggml_backend_init_by_type(GGML_BACKEND_DEVICE_TYPE_CPU, nullptr);
    if (!b) {
      std::printf("no ggml CPU backend found in %s\n", directory.c_str());
      std::exit(2);
    }
    auto set_threads = reinterpret_cast<ggml_backend_set_n_threads_t>(ggml_backend_reg_get_proc_address(
        ggml_backend_dev_backend_reg(ggml_backend_get_device(b)), "ggml_backend_set_n_threads"));
    if (set_threads) set_threads(b, 1);
    return b;
  }();
  return backend;
}

inline Store::~Store() {
  for (auto* b : buffers_) ggml_backend_buffer_free(b);
  for (auto* c : contexts_) ggml_free(c);
}

inline ggml_tensor* Store::tensor(const std::string& name, ggml_type type, const std::array<int64_t, 4>& ne) {
  ggml_tensor*& t = made_[name];
  if (t) return t;
  ggml_context* ctx = ggml_init({2 * ggml_tensor_overhead(), nullptr, true});
  contexts_.push_back(ctx);
  t = ggml_new_tensor(ctx, type, 4, ne.data());
  ggml_set_name(t, name.c_str());
  cpu_backend();
  buffers_.push_back(ggml_backend_alloc_ctx_tensors(ctx, cpu_backend()));
  if (!buffers_.back()) {
    buffers_.pop_back();
    return t = nullptr;
  }
  ggml_backend_buffer_clear(buffers_.back(), 0);
  return t;
}

inline void Store::upload(ggml_tensor* t, const std::vector<float>& values) {
  const size_t n = static_cast<size_t>(ggml_nelements(t));
  std::vector<float> padded(values);
  padded.resize(n, 0.0f);
  std::vector<uint8_t> bytes(ggml_nbytes(t));
  if (t->type == GGML_TYPE_F32) {
    std::memcpy(bytes.data(), padded.data(), bytes.size());
  } else if (ggml_is_quantized(t->type) || t->type == GGML_TYPE_F16 || t->type == GGML_TYPE_BF16) {
    const std::vector<float> flat(static_cast<size_t>(t->ne[0]), 1.0f);
    ggml_quantize_chunk(t->type, padded.data(), bytes.data(), 0, ggml_nrows(t), t->ne[0], flat.data());
  } else {
    return;  // integers stay zero
  }
  ggml_backend_tensor_set(t, bytes.data(), 0, bytes.size());
}

inline ggml_tensor* Store::weight(uint32_t slot) {
  const fb::WeightSlot& w = *ir_graph_.payload().weights()->Get(slot);
  const std::string name = w.name()->str();
  auto given = weights_.find(name);
  ggml_type type = given != weights_.end() ? given->second.first : GGML_TYPE_F32;
  if (w.type() != 255) type = static_cast<ggml_type>(w.type());
  if (w.cast() != 255) type = static_cast<ggml_type>(w.cast());
  const bool fresh = !made_.count(name);
  const std::array<int64_t, 4> ne = ir_graph_.shape(w.shape(), ir_graph_.lower_bounds());
  if (ne[0] % ggml_blck_size(type) != 0) type = GGML_TYPE_F32;  // no file could hold it
  ggml_tensor* t = tensor(name, type, ne);
  if (t && fresh && given != weights_.end()) upload(t, given->second.second);
  return t;
}

inline ggml_tensor* Store::state(uint32_t slot) {
  const fb::StateSlot& s = *ir_graph_.payload().states()->Get(slot);
  const auto type = s.kind() == fb::StateKind_KvCache ? cache_type : static_cast<ggml_type>(s.type());
  return tensor("state " + s.name()->str(), type, ir_graph_.shape(s.shape(), ir_graph_.lower_bounds()));
}

inline ggml_tensor* Store::constant(uint32_t index) {
  const fb::Constant& c = *ir_graph_.payload().constants()->Get(index);
  ggml_tensor* t = tensor("constant " + std::to_string(index), static_cast<ggml_type>(c.type()),
                          ir_graph_.shape(c.shape(), ir_graph_.lower_bounds()));
  if (t) ggml_backend_tensor_set(t, c.data()->data(), 0, c.data()->size());
  return t;
}

inline std::vector<float> read(ggml_tensor* t) {
  const size_t n = static_cast<size_t>(ggml_nelements(t));
  std::vector<uint8_t> bytes(ggml_nbytes(t));
  ggml_backend_tensor_get(t, bytes.data(), 0, bytes.size());
  std::vector<float> out(n);
  if (t->type == GGML_TYPE_I32) {
    for (size_t i = 0; i < n; ++i) out[i] = static_cast<float>(reinterpret_cast<const int32_t*>(bytes.data())[i]);
  } else if (t->type == GGML_TYPE_F32) {
    std::memcpy(out.data(), bytes.data(), bytes.size());
  } else if (const auto to_float = ggml_get_type_traits(t->type)->to_float) {
    to_float(bytes.data(), out.data(), static_cast<int64_t>(n));
  }
  return out;
}

inline Result<Outputs> run_at(const Graph& ir_graph, Store& store, const std::vector<int64_t>& symbols,
                              const std::vector<InputView>& views, const etggml::graph::BuildOptions& options,
                              size_t max_bytes) {
  auto built = etggml::graph::build(ir_graph, symbols, store, options);
  if (!built.ok()) return built.status();
  CHECK(built->tensors.most() <= etggml::devices::TensorContexts::kRoom);
  size_t total = 0;
  built->tensors.each([&total](const ggml_tensor* t) {
    if (!t->view_src) total += std::min(ggml_nbytes(t), size_t{1} << 50);
  });
  if (total > max_bytes) return Outputs{};
  std::unique_ptr<ggml_gallocr, decltype(&ggml_gallocr_free)> alloc(
      ggml_gallocr_new(ggml_backend_get_default_buffer_type(cpu_backend())), ggml_gallocr_free);
  if (!ggml_gallocr_alloc_graph(alloc.get(), built->graph))
    return etggml::error(ETGGML_OUT_OF_MEMORY, "allocation failed");
  for (const auto& host : built->host_inputs) {
    Status s = etggml::graph::fill_host_input(ir_graph, host, views.data(), views.size(), symbols, host.tensor->data,
                                              ggml_nbytes(host.tensor));
    if (!s.ok()) return s;
  }
  if (ggml_backend_graph_compute(cpu_backend(), built->graph) != GGML_STATUS_SUCCESS) {
    return etggml::error(ETGGML_INTERNAL, "compute failed");
  }
  Outputs out;
  out.nodes = ggml_graph_n_nodes(built->graph);
  for (ggml_tensor* t : built->outputs) {
    out.values.push_back(read(t));
    out.ne.push_back({t->ne[0], t->ne[1], t->ne[2], t->ne[3]});
  }
  return out;
}

inline Result<Outputs> run(const Graph& ir_graph, Store& store, const std::vector<Arg>& args,
                           const etggml::graph::BuildOptions& options) {
  std::vector<InputView> views;
  for (const Arg& a : args) views.push_back(a.view());
  auto symbols = ir_graph.bind(views.data(), views.size(), 1);
  if (!symbols.ok()) return symbols.status();
  return run_at(ir_graph, store, *symbols, views, options);
}

inline std::vector<float> noise(size_t n, uint32_t seed) {
  std::vector<float> v(n);
  uint32_t x = seed * 2654435761u + 12345u;
  for (float& f : v) {
    x ^= x << 13, x ^= x >> 17, x ^= x << 5;
    f = static_cast<float>(x >> 8) / 8388608.0f - 1.0f;
  }
  return v;
}

}  // namespace irtest
