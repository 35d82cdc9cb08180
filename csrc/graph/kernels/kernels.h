// Where kernels of ours may stand in for ggml's. Builders ask (graph/ops/*.cpp) after every precondition of ggml's own
// op holds; nullptr leaves the op to ggml.
#pragma once

#include "ggml.h"

namespace etggml::graph {

/// Operands of ggml_flash_attn_ext: q [D, T, H, B] F32, k [D, S, Hkv, B], v [Dv, S, Hkv, B], mask F16 or nullptr, sinks
/// F32 [H] or nullptr.
struct AttentionArgs {
  ggml_tensor* q = nullptr;
  ggml_tensor* k = nullptr;
  ggml_tensor* v = nullptr;
  ggml_tensor* mask = nullptr;
  ggml_tensor* sinks = nullptr;
  float scale = 1.0f;
  float max_bias = 0.0f;
  float softcap = 0.0f;
};

/// What one build of a graph asks. Implementations may remember tensors of that build; they must not throw and may make
/// up to kExtraTensors tensors besides the result.
class Kernels {
 public:
  static constexpr int kExtraTensors = 1;
  virtual ~Kernels() = default;
  /// F32 [w->ne[1], x->ne[1], x->ne[2], x->ne[3]].
  virtual ggml_tensor* mul_mat(ggml_context*, ggml_tensor* /*w*/, ggml_tensor* /*x*/) { return nullptr; }
  /// F32 [Dv, H, T, B].
  virtual ggml_tensor* attention(ggml_context*, const AttentionArgs&) { return nullptr; }
};

}  // namespace etggml::graph
