// How many columns of a product of a quantised matrix are computed between two looks at etggml_stopped(). Included by
// ggml-cpu.c (see third-party/patches/ggml-cpu-stop.patch) right before ggml_compute_forward_mul_mat().
#pragma once

#include "etggml_stop.h"

// All of them where the kernel has barriers: threads that see the answer at different times would wait for each other.
static int64_t etggml_columns(const struct ggml_compute_params* params, const struct ggml_tensor* product) {
  const int64_t columns = product->ne[1];
  if (!ggml_is_quantized(product->src[0]->type)) return MAX(1, columns);
  const int64_t share = 1 << 28;  // multiplications of a thread: some 10 ms
  const int64_t column = MAX(1, product->src[0]->ne[0] * product->src[0]->ne[1] / params->nth);
  const int64_t block = 24;  // a multiple of the columns that any kernel takes at a time
  return MAX(1, MIN(columns, MAX(1, share / column / block) * block));
}
