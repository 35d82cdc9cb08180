// Weights of floats of any size as rows for panel products. Not for code of one instruction set: the linker may
// share it.
#pragma once

#include "ggml.h"
#include "kernels/panel.h"
#include "kernels/thread_memory.h"

namespace etggml::kernels {

/// Whether float_rows() reads it.
inline bool is_panel_weight(ggml_type type) {
  return type == GGML_TYPE_F32 || type == GGML_TYPE_F16 || type == GGML_TYPE_BF16;
}

/// n elements of such a weight as floats: where they are, or widened into memory of this thread that is kept for Tag.
template <class Tag>
const float* float_rows(const PanelFunctions& f, ggml_type type, const char* data, int64_t n) {
  if (type == GGML_TYPE_F32) return reinterpret_cast<const float*>(data);
  auto* floats = reinterpret_cast<float*>(thread_memory<Tag>(static_cast<size_t>(n) * sizeof(float)));
  (type == GGML_TYPE_F16 ? f.widen_f16 : f.widen_bf16)(reinterpret_cast<const uint16_t*>(data), n, floats);
  return floats;
}

}  // namespace etggml::kernels
