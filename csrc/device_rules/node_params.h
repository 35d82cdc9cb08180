// Parameters of ggml's nodes. ggml keeps them by position and has no functions that read them. This is the only place
// that knows the positions; tests/cpp/ggml_node_params.cpp holds them against ggml's own functions.
#pragma once

#include <cstdint>
#include <cstring>

#include "ggml.h"

namespace etggml::device_rules {

inline int32_t int_param(const ggml_tensor* t, int position) { return t->op_params[position]; }
inline float float_param(const ggml_tensor* t, int position) {
  float value;
  std::memcpy(&value, t->op_params + position, sizeof(value));
  return value;
}

struct RopeParams {
  int32_t n_dims, mode;
  float base, scale, blend, attn;  ///< blend: YaRN's share of the frequencies that are not scaled
  int32_t offset;                  ///< of the first rotated element in a head
};
inline RopeParams rope_params(const ggml_tensor* t) {
  return {int_param(t, 1),   int_param(t, 2),   float_param(t, 5), float_param(t, 6),
          float_param(t, 7), float_param(t, 8), int_param(t, 15)};
}

struct AttentionParams {
  float scale, max_bias, softcap;
};
inline AttentionParams attention_params(const ggml_tensor* t) {
  return {float_param(t, 0), float_param(t, 1), float_param(t, 2)};
}

struct SoftMaxParams {
  float scale, max_bias;
};
inline SoftMaxParams softmax_params(const ggml_tensor* t) { return {float_param(t, 0), float_param(t, 1)}; }

struct ClampParams {
  float min, max;
};
inline ClampParams clamp_params(const ggml_tensor* t) { return {float_param(t, 0), float_param(t, 1)}; }

struct ScaleParams {
  float factor, bias;
};
inline ScaleParams scale_params(const ggml_tensor* t) { return {float_param(t, 0), float_param(t, 1)}; }

/// Of NORM, RMS_NORM and L2_NORM.
inline float norm_epsilon(const ggml_tensor* t) { return float_param(t, 0); }
inline ggml_sort_order sort_order(const ggml_tensor* t) { return static_cast<ggml_sort_order>(int_param(t, 0)); }
/// Whether a gated unit takes its gate from the second half, or the second source.
inline bool glu_swapped(const ggml_tensor* t) { return int_param(t, 1) != 0; }
/// Of MUL_MAT and MUL_MAT_ID: the least precision of the second source (ggml_prec_set_src).
inline ggml_prec source_precision(const ggml_tensor* t) { return static_cast<ggml_prec>(int_param(t, 3)); }

}  // namespace etggml::device_rules
