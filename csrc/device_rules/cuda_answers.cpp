#include "device_rules/cuda_answers.h"

namespace etggml::graph {
namespace {

constexpr int64_t kSuperBlock = 256;

bool is_float(ggml_type t) { return t == GGML_TYPE_F32 || t == GGML_TYPE_F16 || t == GGML_TYPE_BF16; }

/// Types of 32 elements a block that rows and caches can be written in.
bool is_writable(ggml_type t) {
  switch (t) {
    case GGML_TYPE_Q4_0:
    case GGML_TYPE_Q4_1:
    case GGML_TYPE_Q5_0:
    case GGML_TYPE_Q5_1:
    case GGML_TYPE_Q8_0:
    case GGML_TYPE_IQ4_NL:
      return true;
    default:
      return false;
  }
}

bool reads_rows(const ggml_tensor* table) {
  switch (table->type) {
    case GGML_TYPE_Q8_K:
    case GGML_TYPE_NVFP4:
    case GGML_TYPE_TQ1_0:
    case GGML_TYPE_TQ2_0:
      return false;
    case GGML_TYPE_IQ4_NL:
    case GGML_TYPE_MXFP4:
      return table->ne[0] % kSuperBlock == 0;
    default:
      return true;
  }
}

bool copies(const ggml_tensor* from, const ggml_tensor* to) {
  if (is_float(from->type) && is_float(to->type)) return true;
  if (from->type == GGML_TYPE_F32 && (is_writable(to->type) || to->type == GGML_TYPE_I32)) return true;
  if (to->type == GGML_TYPE_F32 && from->type != GGML_TYPE_IQ4_NL && is_writable(from->type)) return true;
  if (from->type == GGML_TYPE_I32 && (to->type == GGML_TYPE_F32 || to->type == GGML_TYPE_I32)) return true;
  return from->type == to->type && ggml_is_contiguous(from) && ggml_is_contiguous(to);
}

bool attends(const ggml_tensor* node) {
  const ggml_tensor *k = node->src[1], *v = node->src[2], *mask = node->src[3];
  if (k->ne[0] != v->ne[0] || (mask && mask->ne[2] != 1)) return false;
  switch (k->ne[0]) {
    case 40:
    case 64:
    case 72:
    case 80:
    case 96:
    case 112:
    case 128:
    case 256:
      return true;
    default:
      return false;  // others under conditions that no model of ours meets
  }
}

}  // namespace

bool cuda_supports(const ggml_tensor* node) {
  const ggml_tensor* x = node->src[0];
  const ggml_tensor* y = node->src[1];
  switch (node->op) {
    case GGML_OP_UNARY:
    case GGML_OP_GROUP_NORM:
    case GGML_OP_SUM_ROWS:
    case GGML_OP_MEAN:
      return ggml_is_contiguous(x);
    case GGML_OP_DUP:
      return x->type != GGML_TYPE_I32 && x->type != GGML_TYPE_I16;
    case GGML_OP_GLU:
      return ggml_is_contiguous_1(x);
    case GGML_OP_MUL_MAT:
    case GGML_OP_MUL_MAT_ID:
      return (y->type != GGML_TYPE_F16 || x->type == GGML_TYPE_F16) && x->type != GGML_TYPE_TQ1_0 &&
             x->type != GGML_TYPE_TQ2_0;
    case GGML_OP_GET_ROWS:
      return reads_rows(x);
    case GGML_OP_SET_ROWS:
      return x->type == GGML_TYPE_F32 ? is_float(node->type) || is_writable(node->type)
                                      : x->type == GGML_TYPE_F16 && node->type == GGML_TYPE_F16;
    case GGML_OP_CPY:
      return copies(x, y);
    case GGML_OP_REPEAT:
      return x->type == GGML_TYPE_F32 || x->type == GGML_TYPE_F16;
    case GGML_OP_CONCAT:
      return x->type == y->type && x->type == node->type && !ggml_is_quantized(x->type);
    case GGML_OP_NORM:
    case GGML_OP_RMS_NORM:
    case GGML_OP_L2_NORM:
    case GGML_OP_SUM:
      return ggml_is_contiguous_rows(x) && x->type == GGML_TYPE_F32;
    case GGML_OP_ADD:
    case GGML_OP_SUB:
    case GGML_OP_MUL:
    case GGML_OP_DIV:
      return x->type != GGML_TYPE_BF16 && (y->type == GGML_TYPE_F32 || y->type == GGML_TYPE_F16);
    case GGML_OP_ROPE:
      return x->nb[0] == ggml_type_size(x->type) && ggml_is_contiguous_2(x);
    case GGML_OP_IM2COL:
      return ggml_is_contiguous(x) && ggml_is_contiguous(y);
    case GGML_OP_CONV_2D_DW:
      return x->type == GGML_TYPE_F32;
    case GGML_OP_FLASH_ATTN_EXT:
      return attends(node);
    default:
      return true;
  }
}

}  // namespace etggml::graph
