#include "engine/borrowed.h"

#include <cstdint>
#include <unordered_map>

#include "device_rules/ggml_internals.h"

namespace etggml::engine {
namespace {

// Smaller ones are copied in no time.
constexpr size_t kLeastBytes = 64 << 10;

// Kernels may rely on this alignment.
constexpr uintptr_t kAlignment = 16;

bool is_view(const ggml_tensor* t) {
  switch (t->op) {
    case GGML_OP_VIEW:
    case GGML_OP_RESHAPE:
    case GGML_OP_PERMUTE:
    case GGML_OP_TRANSPOSE:
      return true;
    default:
      return false;
  }
}

}  // namespace

void BorrowedInputs::find(const graph::Built& built) {
  inputs_.assign(built.host_inputs.size(), Input());
  std::unordered_map<const ggml_tensor*, Input*> by_tensor;
  for (size_t i = 0; i < inputs_.size(); ++i) {
    ggml_tensor* tensor = built.host_inputs[i].tensor;
    Input& input = inputs_[i];
    input.own = tensor->data;
    input.allowed = input.own != nullptr && ggml_nbytes(tensor) >= kLeastBytes;
    input.readers.push_back({tensor, 0});
    by_tensor.emplace(tensor, &input);
  }
  const auto forbid = [&](const ggml_tensor* t) {
    const auto it = by_tensor.find(t->view_src != nullptr ? t->view_src : t);
    if (it != by_tensor.end()) it->second->allowed = false;
  };
  for (int i = 0; i < ggml_graph_n_nodes(built.graph); ++i) {
    ggml_tensor* node = ggml_graph_node(built.graph, i);
    if (node->view_src == nullptr) continue;
    const auto it = by_tensor.find(node->view_src);
    if (it == by_tensor.end()) continue;
    if (is_view(node)) {
      it->second->readers.push_back({node, node->view_offs});
    } else {
      it->second->allowed = false;  // it writes into the input's memory
    }
  }
  for (const ggml_tensor* output : built.outputs) forbid(output);
}

bool BorrowedInputs::borrow(size_t i, const void* data) {
  Input& input = inputs_[i];
  if (!input.allowed) return false;
  const bool borrows = data != nullptr && reinterpret_cast<uintptr_t>(data) % kAlignment == 0;
  char* base = static_cast<char*>(borrows ? const_cast<void*>(data) : input.own);
  for (const View& view : input.readers) view.tensor->data = base + view.offset;
  return borrows;
}

}  // namespace etggml::engine
