#include "device_rules/gpu_rules.h"

namespace etggml::graph {
namespace {

constexpr int64_t kMaxGrid = 65535;  // blocks along the second and third axis of a CUDA grid

bool is(const ggml_tensor* t, ggml_type type) { return t->type == type; }
bool f32(const ggml_tensor* t) { return is(t, GGML_TYPE_F32); }
bool f32_or_f16(const ggml_tensor* t) { return f32(t) || is(t, GGML_TYPE_F16); }
bool is_float(const ggml_tensor* t) { return f32_or_f16(t) || is(t, GGML_TYPE_BF16); }
bool is_number(const ggml_tensor* t) { return f32(t) || is(t, GGML_TYPE_I32); }

/// ggml_cuda_cpy. Pairs with a quantised side are in its supports_op.
bool copies(const ggml_tensor* from, const ggml_tensor* to) {
  if (from->type == to->type) {
    const bool plain = is_float(from) || is(from, GGML_TYPE_I32) || is(from, GGML_TYPE_I16);
    return plain || (ggml_is_contiguous(from) && ggml_is_contiguous(to));
  }
  if (ggml_is_quantized(from->type) || ggml_is_quantized(to->type)) return f32(from) || f32(to);
  return (is_float(from) && is_float(to)) || (is_number(from) && is_number(to));
}

bool multiplies(const ggml_tensor* w, const ggml_tensor* x) {
  // Other pairs of types reach a conversion to cuBLAS's type that exists for some of them only.
  return f32(x) || (is(x, GGML_TYPE_F16) && is(w, GGML_TYPE_F16));
}

/// Whether no column of `ids` names an expert twice, as far as the graph shows: whole rows, or parts of rows, of a
/// sort.
bool named_once(const ggml_tensor* ids) {
  if (ids->ne[0] == 1) return true;
  switch (ids->op) {
    case GGML_OP_ARGSORT:
    case GGML_OP_TOP_K:
      return true;
    case GGML_OP_CONT:
    case GGML_OP_DUP:
    case GGML_OP_RESHAPE:
      return ids->src[0]->ne[0] == ids->ne[0] && named_once(ids->src[0]);
    case GGML_OP_VIEW: {
      const ggml_tensor* from = ids->src[0];
      const size_t row = ids->nb[0] * static_cast<size_t>(from->ne[0]);
      if (from->type != ids->type || from->nb[0] != ids->nb[0] || from->nb[1] < row) return false;
      if (ids->ne[1] > 1 && ids->nb[1] % from->nb[1] != 0) return false;
      const size_t offset = (ids->view_offs - from->view_offs) % from->nb[1];
      return offset + ids->nb[0] * static_cast<size_t>(ids->ne[0]) <= row && named_once(from);
    }
    default:
      return false;
  }
}

/// Rows of x are found by index, as if they were contiguous. An expert takes at most one column of a token. On a second
/// one the process ends, or its result is not written.
bool multiplies_chosen(const ggml_tensor* x, const ggml_tensor* ids) {
  return f32(x) && ggml_is_contiguous(x) && ids->nb[0] == ggml_type_size(ids->type) && named_once(ids);
}

/// Kernels with one block per element of these dimensions.
bool fits_grid(const ggml_tensor* t) { return t->ne[2] <= kMaxGrid && t->ne[3] <= kMaxGrid; }

}  // namespace

bool gpu_kernel_takes(const ggml_tensor* node) {
  const ggml_tensor* x = node->src[0];
  switch (node->op) {
    // Kernels that walk the elements in the order of memory.
    case GGML_OP_SQR:
    case GGML_OP_SQRT:
    case GGML_OP_SIN:
    case GGML_OP_COS:
    case GGML_OP_LOG:
    case GGML_OP_UNARY:
      return ggml_is_contiguous(x) && f32_or_f16(x);
    case GGML_OP_GLU:
      return f32_or_f16(x);
    case GGML_OP_LEAKY_RELU:
    case GGML_OP_CLAMP:
      return ggml_is_contiguous(x) && f32_or_f16(x);
    case GGML_OP_SCALE:
      return ggml_is_contiguous(x) && f32(x);
    case GGML_OP_SUM:
    case GGML_OP_ARGMAX:
    case GGML_OP_ARGSORT:
    case GGML_OP_TOP_K:
    case GGML_OP_POOL_2D:
    case GGML_OP_GROUP_NORM:
      return ggml_is_contiguous(x) && f32(x);
    case GGML_OP_CUMSUM:
    case GGML_OP_NORM:
    case GGML_OP_RMS_NORM:
    case GGML_OP_L2_NORM:
    case GGML_OP_SOFT_MAX:
      return f32(x) && fits_grid(x);
    case GGML_OP_CONCAT:
      return fits_grid(node);
    case GGML_OP_PAD:
      return f32(x) && node->ne[1] <= kMaxGrid && node->ne[2] * node->ne[3] <= kMaxGrid;
    case GGML_OP_IM2COL:
      return f32(node->src[1]) && ggml_is_contiguous(node->src[1]);
    case GGML_OP_CONV_2D_DW:
      return ggml_is_contiguous(x) && ggml_is_contiguous(node->src[1]) && f32(node->src[1]);
    case GGML_OP_REPEAT:
      return f32_or_f16(x);
    case GGML_OP_MUL_MAT:
      return multiplies(x, node->src[1]);
    case GGML_OP_MUL_MAT_ID:
      return multiplies_chosen(node->src[1], node->src[2]);
    case GGML_OP_GET_ROWS:
      return node->src[1]->nb[0] == ggml_type_size(node->src[1]->type);
    case GGML_OP_CPY:
      return copies(x, node->src[1]);
    case GGML_OP_CONT:
    case GGML_OP_DUP:
      return copies(x, node);
    default:
      return true;
  }
}

}  // namespace etggml::graph
