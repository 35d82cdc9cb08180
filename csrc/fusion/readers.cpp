#include "fusion/readers.h"

namespace etggml::fusion {

Readers::Readers(const std::vector<ggml_tensor*>& nodes, const std::vector<ggml_tensor*>& outputs) {
  for (size_t i = 0; i < nodes.size(); ++i) positions_.emplace(nodes[i], static_cast<int>(i));
  for (ggml_tensor* node : nodes) {
    if (is_view(node)) continue;
    for (ggml_tensor* source : node->src) {
      if (source != nullptr) readers_[behind_views(source)].push_back(node);
    }
  }
  for (ggml_tensor* output : outputs) outside_[behind_views(output)] = true;
}

const std::vector<ggml_tensor*>& Readers::of(const ggml_tensor* t) const {
  static const std::vector<ggml_tensor*> none;
  const auto it = readers_.find(t);
  return it == readers_.end() ? none : it->second;
}

ggml_tensor* Readers::only(const ggml_tensor* t) const {
  const std::vector<ggml_tensor*>& all = of(t);
  return all.size() == 1 && outside_.count(t) == 0 ? all[0] : nullptr;
}

int Readers::position(const ggml_tensor* t) const {
  const auto it = positions_.find(t);
  return it == positions_.end() ? -1 : it->second;
}

}  // namespace etggml::fusion
