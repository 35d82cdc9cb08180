#include "kernels/kernel_guard.h"

#include <atomic>

#include "device_rules/ggml_internals.h"

namespace etggml::kernels {
namespace {

// A fixed place: there is no memory to note it in. When it is full, older notes stay and the flag says that there are
// more: then every graph that asks is taken to have failed, once.
constexpr int kPlaces = 64;
std::atomic<const ggml_tensor*> places[kPlaces];
std::atomic<int> noted{0};
std::atomic<bool> overflow{false};

bool in_graph(const ggml_tensor* node, const ggml_cgraph* graph) {
  for (int i = 0; i < graph->n_nodes; ++i) {
    if (graph->nodes[i] == node) return true;
  }
  return false;
}

}  // namespace

void note_failed_kernel(const ggml_tensor* node) {
  noted.fetch_add(1, std::memory_order_release);
  for (auto& place : places) {
    const ggml_tensor* empty = nullptr;
    if (place.load(std::memory_order_relaxed) == node || place.compare_exchange_strong(empty, node)) return;
  }
  overflow.store(true);
}

bool take_failed_kernel(const ggml_cgraph* graph) {
  if (noted.load(std::memory_order_acquire) == 0) return false;
  bool found = overflow.exchange(false), others = false;
  for (auto& place : places) {
    const ggml_tensor* node = place.load();
    if (node == nullptr) continue;
    if (in_graph(node, graph)) {
      place.store(nullptr);
      found = true;
    } else {
      others = true;
    }
  }
  if (!others) noted.store(0);
  return found;
}

}  // namespace etggml::kernels
