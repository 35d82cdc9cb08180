// Groups of nodes that look like one kernel and must stay separate. Each case has its counterpart, which is one kernel:
// so a case cannot pass because the pattern was missed.
#include <functional>
#include <vector>

#include "check.h"
#include "fusion/fuse.h"
#include "fusion/host_fallback.h"

namespace etggml::fusion {
namespace {

using cuda::KernelDesc;
using cuda::Kind;
using cuda::MatVecDesc;

constexpr int64_t kSize = 32;
constexpr float kGeluCube = 0.0713548162726f, kGeluRoot = 1.5957691216057f;  // of the form that is_gelu() reads

/// A graph without memory, and what fuse() makes of it.
class Case {
 public:
  Case() : ctx_(ggml_init({size_t{1} << 20, nullptr, true})), graph_(ggml_new_graph(ctx_)) {}
  ~Case() { ggml_free(ctx_); }
  Case(const Case&) = delete;
  Case& operator=(const Case&) = delete;
  ggml_context* ctx() const { return ctx_; }

  ggml_tensor* input(int64_t size = kSize) { return ggml_new_tensor_1d(ctx_, GGML_TYPE_F32, size); }
  ggml_tensor* weight(int64_t a, int64_t b = 1, int64_t c = 1) {
    ggml_tensor* w = ggml_new_tensor_3d(ctx_, GGML_TYPE_F32, a, b, c);
    w->data = memory_;  // never read: nothing is computed
    return w;
  }
  ggml_tensor* product(ggml_tensor* x, int64_t rows = kSize) { return ggml_mul_mat(ctx_, weight(x->ne[0], rows), x); }
  ggml_tensor* norm(ggml_tensor* x) { return ggml_mul(ctx_, ggml_rms_norm(ctx_, x, 1e-6f), weight(x->ne[0])); }
  ggml_tensor* rows(ggml_tensor* t, int64_t first, int64_t count) {
    return ggml_view_1d(ctx_, t, count, static_cast<size_t>(first) * sizeof(float));
  }
  /// x * sigmoid((cube x^2 + root) x): GELU by tanh for the right numbers.
  ggml_tensor* gelu(ggml_tensor* x, float cube = kGeluCube, float root = kGeluRoot) {
    ggml_tensor* scale = ggml_scale_bias(ctx_, ggml_sqr(ctx_, x), cube, root);
    return ggml_mul(ctx_, x, ggml_sigmoid(ctx_, ggml_mul(ctx_, scale, x)));
  }
  void add(ggml_tensor* node) { ggml_build_forward_expand(graph_, node); }
  void output(ggml_tensor* node) {
    add(node);
    built_.outputs.push_back(node);
  }

  std::vector<const KernelDesc*> kernels() {
    if (!fused_) {
      built_.graph = graph_;
      fusion::fuse(ctx_, built_, fusion::HostFallback(), store_);
      fused_ = true;
    }
    std::vector<const KernelDesc*> found;
    for (int i = 0; i < ggml_graph_n_nodes(graph_); ++i)
      if (ggml_graph_node(graph_, i)->op == GGML_OP_CUSTOM)
        found.push_back(fusion::descriptor_of(ggml_graph_node(graph_, i)));
    return found;
  }
  int count(Kind kind) {
    int found = 0;
    for (const KernelDesc* desc : kernels()) found += desc->kind == kind;
    return found;
  }
  int products(const std::function<bool(const MatVecDesc&)>& wanted) {
    int found = 0;
    for (const KernelDesc* desc : kernels())
      found += desc->kind == Kind::MatVec && wanted(*static_cast<const MatVecDesc*>(desc));
    return found;
  }
  int gated() {
    return products([](const MatVecDesc& c) { return c.glu != MatVecDesc::None; });
  }
  int post_normed() {
    return products([](const MatVecDesc& c) { return c.post_norm; });
  }

 private:
  ggml_context* ctx_;
  ggml_cgraph* graph_;
  graph::Built built_;
  fusion::DescStore store_;
  bool fused_ = false;
  char memory_[16] = {};
};

void gelu_of_other_constants() {
  const auto gated = [](float cube, float root) {
    Case c;
    ggml_tensor* x = c.input();
    c.output(ggml_mul(c.ctx(), c.gelu(c.product(x), cube, root), c.product(x)));
    return c.gated();
  };
  CHECK(gated(kGeluCube, kGeluRoot) == 1);
  CHECK(gated(kGeluCube * 1.001f, kGeluRoot) == 0);
  CHECK(gated(kGeluCube, kGeluRoot * 1.001f) == 0);
  CHECK(gated(0.0f, 1.702f) == 0);  // GELU by the logistic function
}

void gates_of_other_columns() {
  const auto gated = [](bool same) {
    Case c;
    ggml_tensor *x = c.input(), *other = same ? x : c.input();
    c.output(ggml_mul(c.ctx(), ggml_silu(c.ctx(), c.product(x)), c.product(other)));
    return c.gated();
  };
  CHECK(gated(true) == 1);
  CHECK(gated(false) == 0);
}

void gates_in_one_matrix() {
  const auto gated = [](int64_t up_first, bool read_elsewhere) {
    Case c;
    ggml_tensor* both = c.product(c.input(), 2 * kSize);
    c.output(ggml_mul(c.ctx(), ggml_silu(c.ctx(), c.rows(both, 0, kSize)), c.rows(both, up_first, kSize)));
    if (read_elsewhere) c.output(ggml_sqr(c.ctx(), both));
    return c.gated();
  };
  CHECK(gated(kSize, false) == 1);
  CHECK(gated(0, false) == 0);     // a gate that multiplies itself
  CHECK(gated(kSize, true) == 0);  // the product itself is needed
}

void gates_of_two_matrices() {
  // Half of one product's rows as gate, and as up rows of another one: of the same width, or of other columns.
  const auto gated = [](int64_t width) {
    Case c;
    ggml_tensor* x = c.input();
    ggml_tensor* y = width == kSize ? x : c.input(width);
    ggml_tensor *first = c.product(x, 2 * kSize), *second = c.product(y, 2 * kSize);
    c.output(ggml_mul(c.ctx(), ggml_silu(c.ctx(), c.rows(first, 0, kSize)), c.rows(second, kSize, kSize)));
    return c.gated();
  };
  CHECK(gated(kSize) == 1);
  CHECK(gated(2 * kSize) == 0);
}

enum class Reader { Later, Early, Residual, None };

int post_normed(Reader reader) {
  Case c;
  ggml_tensor* sum = ggml_add(c.ctx(), c.input(), c.norm(c.product(c.input())));
  if (reader == Reader::Early) c.output(ggml_sqr(c.ctx(), sum));
  ggml_tensor* y = c.product(c.norm(sum));
  if (reader == Reader::Residual) y = ggml_add(c.ctx(), y, sum);
  c.output(y);
  if (reader == Reader::Later) c.output(ggml_sqr(c.ctx(), sum));
  return c.post_normed();
}

void readers_of_a_sum() {
  CHECK(post_normed(Reader::None) == 1);
  CHECK(post_normed(Reader::Later) == 1);
  CHECK(post_normed(Reader::Early) == 0);
  // Blocks that are done would read it while others still write it.
  CHECK(post_normed(Reader::Residual) == 0);
}

/// The choice of 2 of 8 experts, and who else reads its order.
int routes(bool order_elsewhere) {
  constexpr int64_t kExperts = 8, kUsed = 2;
  Case c;
  ggml_tensor* scores = ggml_soft_max(c.ctx(), c.product(c.input(), kExperts));
  ggml_tensor* order = ggml_argsort(c.ctx(), scores, GGML_SORT_ORDER_DESC);
  ggml_tensor* ids = ggml_view_1d(c.ctx(), order, kUsed, 0);
  ggml_tensor* chosen = ggml_get_rows(c.ctx(), ggml_reshape_2d(c.ctx(), scores, 1, kExperts), ids);
  ggml_tensor* flat = ggml_reshape_1d(c.ctx(), chosen, kUsed);
  c.output(ggml_div(c.ctx(), flat, ggml_sum_rows(c.ctx(), flat)));
  if (order_elsewhere) c.output(order);
  return c.count(Kind::Route);
}

void ids_read_elsewhere() {
  CHECK(routes(false) == 1);
  CHECK(routes(true) == 0);
}

/// One key head: its stride is no number that anybody reads, and both kernels are one.
void one_key_head() {
  for (const int64_t kv_heads : {1, 2}) {
    constexpr int64_t kPositions = 64;
    Case c;
    ggml_tensor* rows = ggml_new_tensor_1d(c.ctx(), GGML_TYPE_I64, 1);
    const auto cache = [&] {
      ggml_tensor* t = ggml_new_tensor_2d(c.ctx(), GGML_TYPE_F16, kSize * kv_heads, kPositions);
      t->data = rows;  // any memory: nothing is computed
      return t;
    };
    const auto written = [&](ggml_tensor* t) {
      ggml_tensor* all = ggml_set_rows(c.ctx(), t, c.product(c.input(), kSize * kv_heads), rows);
      // As the builder makes it: behind the last row of the only head there is no next head.
      return ggml_view_3d(c.ctx(), all, kSize, kPositions, kv_heads, t->nb[1],
                          kv_heads == 1 ? t->nb[1] * kPositions : kSize * sizeof(ggml_fp16_t), 0);
    };
    ggml_tensor* positions = ggml_new_tensor_1d(c.ctx(), GGML_TYPE_I32, 1);
    ggml_tensor* q = ggml_reshape_3d(c.ctx(), c.product(c.input(), 4 * kSize), kSize, 4, 1);
    q = ggml_rope(c.ctx(), q, positions, kSize, GGML_ROPE_TYPE_NEOX);
    ggml_tensor *k = written(cache()), *v = written(cache());
    c.output(ggml_flash_attn_ext(c.ctx(), ggml_permute(c.ctx(), q, 0, 2, 1, 3), k, v, nullptr, 1.0f, 0.0f, 0.0f));
    CHECK(c.count(Kind::HeadsAttention) == 1);
    CHECK(c.count(Kind::Attention) == 0);
  }
}

}  // namespace
}  // namespace etggml::fusion

int main() {
  using namespace etggml::fusion;
  gelu_of_other_constants();
  gates_of_other_columns();
  gates_in_one_matrix();
  gates_of_two_matrices();
  readers_of_a_sum();
  ids_read_elsewhere();
  one_key_head();
  return failures() != 0;
}
