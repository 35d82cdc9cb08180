// The readers of each value in a ggml graph, with views looked through.
#pragma once

#include <unordered_map>
#include <vector>

#include "ggml.h"

namespace etggml::fusion {

/// The tensor that owns the memory of `t`.
inline const ggml_tensor* memory_of(const ggml_tensor* t) { return t->view_src != nullptr ? t->view_src : t; }
inline ggml_tensor* memory_of(ggml_tensor* t) { return t->view_src != nullptr ? t->view_src : t; }
/// Where in it, in elements (of a type without blocks).
inline int64_t offset_in_memory(const ggml_tensor* t) {
  return t->view_src == nullptr ? 0 : static_cast<int64_t>(t->view_offs / ggml_type_size(t->type));
}

inline bool is_view(const ggml_tensor* t) {
  return t->op == GGML_OP_VIEW || t->op == GGML_OP_RESHAPE || t->op == GGML_OP_PERMUTE || t->op == GGML_OP_TRANSPOSE;
}

/// The first tensor behind views that is no view: the node that computed the value, or a leaf.
inline ggml_tensor* behind_views(ggml_tensor* t) {
  while (is_view(t)) t = t->src[0];
  return t;
}

inline bool is_leaf(const ggml_tensor* t) { return t->op == GGML_OP_NONE; }
/// A leaf with memory: weight, constant, state.
inline bool has_memory(const ggml_tensor* t) { return memory_of(t)->data != nullptr; }
inline bool dense_f32(const ggml_tensor* t) { return t->type == GGML_TYPE_F32 && ggml_is_contiguous(t); }

class Readers {
 public:
  Readers(const std::vector<ggml_tensor*>& nodes, const std::vector<ggml_tensor*>& outputs);

  /// Nodes that are no views and read the value that `t` computes, once for each source.
  const std::vector<ggml_tensor*>& of(const ggml_tensor* t) const;
  /// The one reader of a value that nothing outside the graph reads; nullptr when there are none or several.
  ggml_tensor* only(const ggml_tensor* t) const;
  /// Does anything outside the graph read it?
  bool outside(const ggml_tensor* t) const { return outside_.count(t) != 0; }
  /// Index among the nodes, -1 for a leaf.
  int position(const ggml_tensor* t) const;

 private:
  std::unordered_map<const ggml_tensor*, std::vector<ggml_tensor*>> readers_;
  std::unordered_map<const ggml_tensor*, int> positions_;
  std::unordered_map<const ggml_tensor*, bool> outside_;
};

}  // namespace etggml::fusion
