#include "devices/separate.h"

#include <unordered_set>

namespace etggml::devices {
namespace {

size_t aligned(size_t bytes, size_t alignment) { return (bytes + alignment - 1) / alignment * alignment; }

/// Every tensor that needs an address, once.
std::vector<ggml_tensor*> without_memory(ggml_cgraph* graph, const std::vector<ggml_tensor*>& extra) {
  std::vector<ggml_tensor*> found;
  std::unordered_set<const ggml_tensor*> seen;
  auto add = [&](ggml_tensor* t) {
    if (t == nullptr) return;
    if (t->view_src != nullptr) t = t->view_src;
    if (t->data == nullptr && seen.insert(t).second) found.push_back(t);
  };
  for (int i = 0; i < ggml_graph_n_nodes(graph); ++i) {
    ggml_tensor* node = ggml_graph_node(graph, i);
    add(node);
    for (ggml_tensor* source : node->src) add(source);
  }
  for (ggml_tensor* t : extra) add(t);
  return found;
}

}  // namespace

Result<BufferPtr> place_tensors(const std::vector<ggml_tensor*>& tensors, ggml_backend_buffer_type_t type) {
  const size_t alignment = ggml_backend_buft_get_alignment(type);
  std::vector<size_t> offsets;
  size_t total = 0;
  for (const ggml_tensor* t : tensors) {
    offsets.push_back(total);
    total += aligned(ggml_backend_buft_get_alloc_size(type, t), alignment);
  }
  BufferPtr buffer(ggml_backend_buft_alloc_buffer(type, total + alignment));
  if (buffer == nullptr)
    return error(ETGGML_OUT_OF_MEMORY, "cannot allocate %zu bytes for intermediate results", total);
  ggml_backend_buffer_clear(buffer.get(), 0);
  auto* base = static_cast<char*>(ggml_backend_buffer_get_base(buffer.get()));
  for (size_t i = 0; i < tensors.size(); ++i) {
    if (ggml_backend_tensor_alloc(buffer.get(), tensors[i], base + offsets[i]) != GGML_STATUS_SUCCESS)
      return error(ETGGML_DEVICE, "tensor '%s' could not be placed", tensors[i]->name);
  }
  return buffer;
}

Result<BufferPtr> place_separately(const TensorContexts& tensors, ggml_cgraph* graph,
                                   const std::vector<ggml_tensor*>& extra, ggml_backend_buffer_type_t type) {
  ETGGML_ASSIGN_OR_RETURN(BufferPtr buffer, place_tensors(without_memory(graph, extra), type));
  ETGGML_RETURN_IF_ERROR(place_views(tensors));
  return buffer;
}

}  // namespace etggml::devices
