// Memory that runs out in a kernel, in whatever thread, is an error of its call and not the end of the process.
#include <new>

#include "check.h"
#include "engine/engine.h"
#include "kernels/kernel_guard.h"

using namespace etggml::engine;

namespace {

int failing = -1;  // the thread in which there is no memory; -1: none

void kernel(ggml_tensor* y, int thread, int threads, void*) {
  if (thread == failing) throw std::bad_alloc();
  for (int64_t i = thread; i < ggml_nelements(y); i += threads) static_cast<float*>(y->data)[i] = static_cast<float>(i);
}

struct Graph {
  ggml_context* context = ggml_init({1 << 16, nullptr, false});
  ggml_cgraph* graph = ggml_new_graph_custom(context, 8, false);
  ggml_tensor* result = ggml_custom_4d(context, GGML_TYPE_F32, 64, 1, 1, 1, nullptr, 0,
                                       etggml::kernels::guarded_kernel<kernel>, GGML_N_TASKS_MAX, nullptr);
  Graph() { ggml_build_forward_expand(graph, ggml_sqr(context, result)); }
  ~Graph() { ggml_free(context); }
};

void test_every_thread() {
  auto made = Engine::create("cpu", 3);
  CHECK(made.ok());
  if (!made.ok()) return;
  Graph g, other;
  for (failing = 0; failing < 3; ++failing) {
    CHECK((*made)->compute(g.graph, nullptr).code == ETGGML_OUT_OF_MEMORY);
    const int last = failing;
    failing = -1;
    CHECK((*made)->compute(other.graph, nullptr).ok());  // others are not concerned
    CHECK((*made)->compute(g.graph, nullptr).ok());      // and it is over
    CHECK(static_cast<const float*>(g.result->data)[63] == 63.0f);
    failing = last;
  }
  failing = -1;
}

// Many nodes of one graph, more than are noted one by one.
void test_many_nodes() {
  auto made = Engine::create("cpu", 2);
  CHECK(made.ok());
  if (!made.ok()) return;
  ggml_context* context = ggml_init({1 << 20, nullptr, false});
  ggml_cgraph* graph = ggml_new_graph_custom(context, 256, false);
  for (int i = 0; i < 200; ++i) {
    ggml_build_forward_expand(
        graph, ggml_custom_4d(context, GGML_TYPE_F32, 64, 1, 1, 1, nullptr, 0, etggml::kernels::guarded_kernel<kernel>,
                              GGML_N_TASKS_MAX, nullptr));
  }
  failing = 1;
  CHECK((*made)->compute(graph, nullptr).code == ETGGML_OUT_OF_MEMORY);
  failing = -1;
  CHECK((*made)->compute(graph, nullptr).ok());
  ggml_free(context);
}

}  // namespace

int main() {
  test_every_thread();
  test_many_nodes();
  return failures() == 0 ? 0 : 1;
}
