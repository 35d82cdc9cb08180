// Computes long nodes in pieces, with a look at etggml_stopped() in between. ggml's kernels share their work by the
// number of threads. So a piece is the share of one of more threads than there are. Included by ggml-cpu.c
// (see third-party/patches/ggml-cpu-stop.patch) right before ggml_graph_compute_thread().
#pragma once

#include "etggml_stop.h"

bool etggml_stopped(const struct ggml_compute_params* params) {
  struct ggml_threadpool* pool = params->threadpool;
  if (pool == NULL || pool->cplan == NULL) return false;
  if (atomic_load_explicit(&pool->etggml_stopped, memory_order_relaxed)) return true;
  if (params->ith != 0 || pool->cplan->abort_callback == NULL) return false;
  if (!pool->cplan->abort_callback(pool->cplan->abort_callback_data)) return false;
  atomic_store_explicit(&pool->etggml_stopped, true, memory_order_relaxed);
  return true;
}

// Whether the kernel does the same for any number of threads: it has no barrier, and no work memory by thread.
static bool etggml_divisible(const struct ggml_tensor* node) {
  switch (node->op) {
    case GGML_OP_ADD:
      return !ggml_is_quantized(node->src[0]->type);
    case GGML_OP_CPY:
    case GGML_OP_CONT:
    case GGML_OP_DUP:
      return node->type == node->src[0]->type && !ggml_is_quantized(node->type);
    case GGML_OP_SUB:
    case GGML_OP_MUL:
    case GGML_OP_DIV:
    case GGML_OP_SQR:
    case GGML_OP_SQRT:
    case GGML_OP_LOG:
    case GGML_OP_SIN:
    case GGML_OP_COS:
    case GGML_OP_UNARY:
    case GGML_OP_GLU:
    case GGML_OP_SCALE:
    case GGML_OP_CLAMP:
    case GGML_OP_NORM:
    case GGML_OP_RMS_NORM:
    case GGML_OP_L2_NORM:
    case GGML_OP_GROUP_NORM:
    case GGML_OP_CONCAT:
    case GGML_OP_GET_ROWS:
    case GGML_OP_IM2COL:
    case GGML_OP_IM2COL_3D:
    case GGML_OP_ARGSORT:
    case GGML_OP_CUMSUM:
      return true;
    default:
      return false;
  }
}

static void etggml_compute_node(struct ggml_compute_params* params, struct ggml_tensor* node) {
  const int64_t piece = 1 << 19;  // elements: a few milliseconds of the slowest functions
  int64_t size = ggml_nelements(node);
  if (size <= piece * params->nth && (node->src[0] == NULL || ggml_nelements(node->src[0]) <= piece * params->nth)) {
    ggml_compute_forward(params, node);
    return;
  }
  if (node->src[0] != NULL) size = MAX(size, ggml_nelements(node->src[0]));
  const int64_t pieces = MIN(size / (piece * params->nth), 1 << 12);
  if (pieces < 2 || !etggml_divisible(node)) {
    ggml_compute_forward(params, node);
    return;
  }
  struct ggml_compute_params share = *params;
  share.nth = params->nth * (int)pieces;
  for (int64_t i = 0; i < pieces && !etggml_stopped(params); ++i) {
    share.ith = params->ith * (int)pieces + (int)i;
    ggml_compute_forward(&share, node);
  }
}
