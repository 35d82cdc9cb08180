#include "fusion/conv_add.h"

#include <algorithm>
#include <unordered_set>

#include "device_rules/ggml_internals.h"
#include "device_rules/node_params.h"
#include "fusion/readers.h"
#include "kernels/conv.h"

namespace etggml::fusion {
namespace {

/// The clamp that `node` is, of a dense source.
bool clamp_of(const ggml_tensor* node, kernels::Epilogue* epilogue) {
  if (!dense_f32(node) || !dense_f32(node->src[0])) return false;
  if (node->op == GGML_OP_UNARY && ggml_get_unary_op(node) == GGML_UNARY_OP_RELU) {
    epilogue->min = 0.0f;
    return true;
  }
  if (node->op != GGML_OP_CLAMP) return false;
  epilogue->min = device_rules::clamp_params(node).min;
  epilogue->max = device_rules::clamp_params(node).max;
  return true;
}

/// Whether `t` can be read later than it was: it is no state, which a node in between may write.
bool stays(const ggml_tensor* t) { return !has_memory(t); }

/// The convolution among the sources of an addition that can take the other source. Of two the later one: its result is
/// in the nearest cache.
ggml_tensor* convolution(const ggml_tensor* add, const Readers& readers) {
  ggml_tensor* found = nullptr;
  for (int i = 0; i < 2; ++i) {
    ggml_tensor *conv = add->src[i], *other = add->src[1 - i];
    if (!kernels::can_add(conv) || readers.only(conv) != add || !stays(conv->src[1]) || !stays(other)) continue;
    if (found == nullptr || readers.position(conv) > readers.position(found)) found = conv;
  }
  return found;
}

}  // namespace

void fold_additions(graph::Built& built) {
  std::vector<ggml_tensor*> nodes(built.graph->nodes, built.graph->nodes + built.graph->n_nodes);
  const Readers readers(nodes, built.outputs);
  std::unordered_set<const ggml_tensor*> gone;
  for (ggml_tensor* add : nodes) {
    if (add->op != GGML_OP_ADD || !dense_f32(add) || add->view_src != nullptr) continue;
    if (!ggml_are_same_shape(add->src[0], add->src[1]) || add->src[0] == add->src[1]) continue;
    if (!dense_f32(add->src[0]) || !dense_f32(add->src[1])) continue;
    ggml_tensor* conv = convolution(add, readers);
    if (conv == nullptr) continue;
    ggml_tensor *residual = add->src[add->src[0] == conv ? 1 : 0], *result = add;
    kernels::Epilogue epilogue;
    ggml_tensor* next = readers.only(add);
    if (next != nullptr && next->src[0] == add && next->view_src == nullptr && clamp_of(next, &epilogue)) {
      result = next;
      gone.insert(add);
    }
    gone.insert(conv);
    kernels::add_to_conv(conv, residual, epilogue, result);
  }
  if (gone.empty()) return;
  nodes.erase(std::remove_if(nodes.begin(), nodes.end(), [&](ggml_tensor* node) { return gone.count(node) > 0; }),
              nodes.end());
  std::copy(nodes.begin(), nodes.end(), built.graph->nodes);
  built.graph->n_nodes = static_cast<int>(nodes.size());
  for (ggml_tensor*& value : built.values) {
    if (gone.count(value) > 0) value = nullptr;
  }
}

}  // namespace etggml::fusion
