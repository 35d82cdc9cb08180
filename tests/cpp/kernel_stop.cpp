// A computation that is to end ends inside its nodes: every kernel leaves work undone, and the next run is right.
#include <cstring>
#include <functional>

#include "device_rules/ggml_internals.h"
#include "devices/types.h"
#include "engine/engine.h"
#include "ir_run.h"
#include "kernels/cpu_kernels.h"
#include "kernels/stopping.h"

using namespace etggml::graph;
using namespace etggml::kernels;
using etggml::engine::Engine;

namespace {

constexpr uint8_t kUntouched = 0x5a;

/// Tensors with memory of their own, filled with numbers.
struct Bench {
  ggml_context* ctx = ggml_init({size_t{256} << 20, nullptr, false});
  // Kernels of ours want to know that weights lie in the host's memory.
  ggml_backend_buffer_t buffer = ggml_backend_cpu_buffer_from_ptr(ggml_get_mem_buffer(ctx), ggml_get_mem_size(ctx));
  ~Bench() {
    ggml_backend_buffer_free(buffer);
    ggml_free(ctx);
  }

  ggml_tensor* make(ggml_type type, int64_t a, int64_t b = 1, int64_t c = 1, int64_t d = 1) {
    ggml_tensor* t = ggml_new_tensor_4d(ctx, type, a, b, c, d);
    t->buffer = buffer;
    const std::vector<float> values = irtest::noise(static_cast<size_t>(ggml_nelements(t)), 7);
    if (type == GGML_TYPE_F32) {
      std::memcpy(t->data, values.data(), ggml_nbytes(t));
    } else if (type == GGML_TYPE_I32) {
      for (int64_t i = 0; i < ggml_nelements(t); ++i) static_cast<int32_t*>(t->data)[i] = static_cast<int32_t>(i % 2);
    } else {
      const std::vector<float> flat(static_cast<size_t>(a), 1.0f);
      ggml_quantize_chunk(type, values.data(), t->data, 0, ggml_nrows(t), a, flat.data());
    }
    return t;
  }
  ggml_tensor* f32(int64_t a, int64_t b = 1, int64_t c = 1, int64_t d = 1) { return make(GGML_TYPE_F32, a, b, c, d); }
};

using Build = std::function<ggml_tensor*(Bench&, Kernels&)>;

etggml_status run(Engine& engine, ggml_cgraph* graph) {
  ggml_backend_graph_plan_t plan = engine.make_plan(graph);
  const etggml_status code = engine.compute(graph, plan).code;
  engine.free_plan(plan);
  return code;
}

std::vector<char> bytes_of(const ggml_tensor* t) {
  const auto* data = static_cast<const char*>(t->data);
  return {data, data + ggml_nbytes(t)};
}

bool has_untouched(const ggml_tensor* t) {
  const std::vector<char> bytes = bytes_of(t);
  const std::string run(64, static_cast<char>(kUntouched));
  return std::search(bytes.begin(), bytes.end(), run.begin(), run.end()) != bytes.end();
}

void check(const char* name, int threads, const CpuKernelSet& set, const Build& build) {
  auto engine = Engine::create("cpu", threads);
  CHECK(engine.ok());
  if (!engine.ok()) return;
  Engine& e = **engine;
  Bench bench;
  CpuKernels kernels(set);
  ggml_tensor* y = build(bench, kernels);
  if (y == nullptr) {
    std::printf("%s: not on this CPU\n", name);
    return;
  }
  ggml_cgraph* graph = ggml_new_graph_custom(bench.ctx, 16, false);
  ggml_build_forward_expand(graph, y);
  for (int i = 0; i < graph->n_nodes; ++i) {
    if (graph->nodes[i]->op == GGML_OP_CUSTOM) set_stop(graph->nodes[i], &e.stop());
  }
  e.stop().clear();
  CHECK(run(e, graph) == ETGGML_OK);
  const std::vector<char> whole = bytes_of(y);
  for (int i = 0; i < graph->n_nodes; ++i) {
    ggml_tensor* node = graph->nodes[i];
    if (node->view_src != nullptr) continue;
    // Counters in it are worth nothing afterwards, so the node is put back as it was.
    const ggml_tensor before = *node;
    const std::vector<char> result = bytes_of(node);
    std::memset(node->data, kUntouched, ggml_nbytes(node));
    ggml_cgraph* single = ggml_new_graph_custom(bench.ctx, 16, false);
    ggml_graph_add_node(single, node);
    e.stop().cancel();
    CHECK(run(e, single) == ETGGML_CANCELLED);
    if (!has_untouched(node)) std::printf("%s, %d threads, node %d did not stop\n", name, threads, i);
    CHECK(has_untouched(node));
    e.stop().clear();
    *node = before;
    std::memcpy(node->data, result.data(), result.size());
  }
  std::memset(y->data, kUntouched, ggml_nbytes(y));
  CHECK(run(e, graph) == ETGGML_OK);
  CHECK(bytes_of(y) == whole);
}

AttentionArgs attention_of(Bench& b, int64_t queries) {
  AttentionArgs args;
  args.q = b.f32(64, queries, 4);
  args.k = b.make(GGML_TYPE_F16, 64, 512, 2);
  args.v = b.make(GGML_TYPE_F16, 64, 512, 2);
  args.scale = 0.125f;
  return args;
}

RecurrenceArgs recurrence_of(Bench& b) {
  RecurrenceArgs args;
  args.cell = Cell::kLstm;
  args.w = b.f32(128, 512);
  args.gates = b.f32(512, 4, 32);
  args.bias = b.f32(512);
  args.hidden = b.f32(128, 4);
  args.cell_state = b.f32(128, 4);
  return args;
}

ConvArgs conv_of(Bench& b, int64_t kernel_channels) {
  ConvArgs args;
  args.kernel = b.f32(3, 3, kernel_channels, 64);
  args.image = b.f32(32, 32, 64);
  args.padding[0] = args.padding[1] = 1;
  args.out_w = args.out_h = 32;
  return args;
}

const std::vector<std::pair<const char*, Build>> kOurs = {
    {"gemm", [](Bench& b, Kernels& k) { return k.mul_mat(b.ctx, b.make(GGML_TYPE_Q8_0, 256, 512), b.f32(256, 64)); }},
    {"gemv", [](Bench& b, Kernels& k) { return k.mul_mat(b.ctx, b.make(GGML_TYPE_Q8_0, 1024, 4096), b.f32(1024)); }},
    {"linear", [](Bench& b, Kernels& k) { return k.mul_mat(b.ctx, b.f32(256, 512), b.f32(256, 64)); }},
    {"linear, long sums", [](Bench& b, Kernels& k) { return k.mul_mat(b.ctx, b.f32(8192, 64), b.f32(8192, 64)); }},
    {"batched",
     [](Bench& b, Kernels& k) {
       return k.mul_mat(b.ctx, ggml_permute(b.ctx, b.f32(64, 4, 512), 0, 2, 1, 3),
                        ggml_permute(b.ctx, b.f32(64, 4, 64), 0, 2, 1, 3));
     }},
    {"conv", [](Bench& b, Kernels& k) { return k.conv_2d(b.ctx, conv_of(b, 64)); }},
    {"depthwise", [](Bench& b, Kernels& k) { return k.conv_2d(b.ctx, conv_of(b, 1)); }},
    {"attention, few", [](Bench& b, Kernels& k) { return k.attention(b.ctx, attention_of(b, 1)); }},
    {"attention, many", [](Bench& b, Kernels& k) { return k.attention(b.ctx, attention_of(b, 128)); }},
    {"recurrence", [](Bench& b, Kernels& k) { return k.recurrence(b.ctx, recurrence_of(b)); }},
    {"softmax", [](Bench& b, Kernels& k) { return k.soft_max(b.ctx, {b.f32(1024, 64)}); }},
    {"function", [](Bench& b, Kernels& k) { return k.function(b.ctx, {Function::kSoftplus}, b.f32(1 << 17)); }},
    {"tanh", [](Bench& b, Kernels& k) { return k.unary(b.ctx, UnaryOp::kTanh, b.f32(1 << 17)); }},
    {"per row", [](Bench& b, Kernels& k) { return k.per_row(b.ctx, RowOp::kMul, b.f32(4096, 64), b.f32(1, 64)); }},
    {"means", [](Bench& b, Kernels& k) { return k.row_means(b.ctx, b.f32(4096, 64)); }},
    {"concat", [](Bench& b, Kernels& k) { return k.concat(b.ctx, b.f32(4096, 32), b.f32(4096, 32), 1); }},
    {"gather",
     [](Bench& b, Kernels& k) { return k.get_rows(b.ctx, b.f32(1, 2, 64), b.make(GGML_TYPE_I32, 4096, 64)); }},
};

const std::vector<std::pair<const char*, Build>> kTheirs = {
    {"mul_mat F32", [](Bench& b, Kernels&) { return ggml_mul_mat(b.ctx, b.f32(256, 512), b.f32(256, 64)); }},
    {"mul_mat F32, odd", [](Bench& b, Kernels&) { return ggml_mul_mat(b.ctx, b.f32(251, 512), b.f32(251, 64)); }},
    {"mul_mat F16",
     [](Bench& b, Kernels&) { return ggml_mul_mat(b.ctx, b.make(GGML_TYPE_F16, 256, 512), b.f32(256, 64)); }},
    {"mul_mat Q8_0",
     [](Bench& b, Kernels&) { return ggml_mul_mat(b.ctx, b.make(GGML_TYPE_Q8_0, 4096, 4096), b.f32(4096, 49)); }},
    {"mul_mat Q5_1",
     [](Bench& b, Kernels&) { return ggml_mul_mat(b.ctx, b.make(GGML_TYPE_Q5_1, 256, 512), b.f32(256, 64)); }},
    {"mul_mat Q4_K",
     [](Bench& b, Kernels&) { return ggml_mul_mat(b.ctx, b.make(GGML_TYPE_Q4_K, 256, 512), b.f32(256, 64)); }},
    {"mul_mat_id",
     [](Bench& b, Kernels&) {
       return ggml_mul_mat_id(b.ctx, b.make(GGML_TYPE_Q8_0, 256, 512, 2), b.f32(256, 1, 64),
                              b.make(GGML_TYPE_I32, 1, 64));
     }},
    {"attention",
     [](Bench& b, Kernels&) {
       const AttentionArgs a = attention_of(b, 128);
       return ggml_flash_attn_ext(b.ctx, a.q, a.k, a.v, nullptr, a.scale, 0.0f, 0.0f);
     }},
    {"exp", [](Bench& b, Kernels&) { return ggml_exp(b.ctx, b.f32(1024, 4096)); }},
    {"norm", [](Bench& b, Kernels&) { return ggml_norm(b.ctx, b.f32(1024, 4096), 1e-5f); }},
    {"cont", [](Bench& b, Kernels&) { return ggml_cont(b.ctx, ggml_transpose(b.ctx, b.f32(1024, 4096))); }},
};

}  // namespace

int main() {
  irtest::cpu_backend();
  const CpuKernelSet set(etggml::devices::cpu_traits_function(), 2, "");
  for (const int threads : {1, 2}) {
    for (const auto& [name, build] : kOurs) check(name, threads, set, build);
    for (const auto& [name, build] : kTheirs) check(name, threads, set, build);
  }
  return irtest::failures == 0 ? 0 : 1;
}
