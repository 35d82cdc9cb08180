#include "fusion/norms.h"

#include "device_rules/node_params.h"

namespace etggml::fusion {
namespace {

bool is_gain(const ggml_tensor* t, int64_t size) {
  return has_memory(t) && is_leaf(memory_of(t)) && dense_f32(t) && offset_in_memory(t) == 0 && t->ne[0] == size &&
         ggml_nelements(t) == size;
}

}  // namespace

Normalised normalised(ggml_tensor* t, int64_t size) {
  Normalised result;
  ggml_tensor* norm = t;
  if (t->op == GGML_OP_MUL && t->src[0]->op == GGML_OP_RMS_NORM && is_gain(t->src[1], size)) {
    result.gain = memory_of(t->src[1]);
    norm = t->src[0];
  }
  if (norm->op != GGML_OP_RMS_NORM || norm->ne[0] != size) return {};
  result.x = norm->src[0];
  result.eps = device_rules::norm_epsilon(norm);
  return result;
}

}  // namespace etggml::fusion
