// Contexts for tensors: they grow, what was made stays where it is, and their order is that of the making.
#include <cstdio>
#include <vector>

#include "devices/contexts.h"

using etggml::devices::TensorContexts;

namespace {

int failures = 0;

#define CHECK(condition)                                          \
  do {                                                            \
    if (!(condition)) {                                           \
      ++failures;                                                 \
      std::printf("%s:%d: %s\n", __FILE__, __LINE__, #condition); \
    }                                                             \
  } while (0)

void grows() {
  TensorContexts tensors(3);  // far fewer than are made
  std::vector<ggml_tensor*> made;
  for (int i = 0; i < 5000; ++i) made.push_back(ggml_new_tensor_1d(tensors.room(), GGML_TYPE_F32, i + 1));
  CHECK(tensors.contexts().size() > 1);
  CHECK(tensors.count() == made.size());
  size_t at = 0;
  tensors.each([&](ggml_tensor* t) {
    CHECK(t == made[at] && t->ne[0] == static_cast<int64_t>(at) + 1);
    ++at;
  });
  CHECK(at == made.size());
  CHECK(tensors.bytes() >= made.size() * ggml_tensor_overhead());
  CHECK(tensors.bytes() < 3 * made.size() * ggml_tensor_overhead());
}

void has_room() {
  TensorContexts tensors(TensorContexts::kRoom);
  // A caller that makes as many as it may, again and again, never meets the end of a context.
  for (int round = 0; round < 20; ++round) {
    ggml_context* ctx = tensors.room();
    for (size_t i = 0; i < TensorContexts::kRoom; ++i) CHECK(ggml_new_tensor_1d(ctx, GGML_TYPE_F32, 1) != nullptr);
  }
  (void)tensors.room();
  CHECK(tensors.most() == TensorContexts::kRoom);
  // One context is enough when the number was known.
  TensorContexts known(100 + TensorContexts::kRoom);
  for (int i = 0; i < 100; ++i) ggml_new_tensor_1d(known.room(), GGML_TYPE_F32, 1);
  CHECK(known.contexts().size() == 1);
  CHECK(known.most() == 1);
}

void makes_graphs() {
  TensorContexts tensors(2);
  ggml_tensor* x = ggml_new_tensor_1d(tensors.room(), GGML_TYPE_F32, 4);
  std::vector<ggml_tensor*> nodes;
  ggml_tensor* y = x;
  for (int i = 0; i < 600; ++i) nodes.push_back(y = ggml_neg(tensors.room(), y));
  ggml_cgraph* graph = tensors.graph(tensors.count());
  ggml_build_forward_expand(graph, y);
  CHECK(ggml_graph_n_nodes(graph) == 600);
  for (int i = 0; i < 600; ++i) CHECK(ggml_graph_node(graph, i) == nodes[static_cast<size_t>(i)]);
  CHECK(tensors.count() == 601);  // the graph is none
  // Nor does it close the context that tensors are made in, or count as one of them.
  const size_t contexts = tensors.contexts().size();
  (void)tensors.room(1);
  CHECK(tensors.contexts().size() == contexts && tensors.most() == 1);
}

}  // namespace

int main() {
  grows();
  has_room();
  makes_graphs();
  return failures == 0 ? 0 : 1;
}
