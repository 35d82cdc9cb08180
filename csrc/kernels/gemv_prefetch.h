// Matrix-vector product on ggml-cpu's own dot products, with software prefetch.
//
// Decoding one token reads every weight once, so it runs at the speed of memory. In ggml's loop the hardware prefetcher
// must find the stream anew at every row of every matrix. Prefetching the next rows keeps more loads in flight. The
// arithmetic is ggml's (same conversion of x, same dot product), so results have the same bits. Rows that the
// conversion would spoil are the exception (exact_rows.h).
#pragma once

#include "ggml-cpu.h"
#include "ggml.h"

namespace etggml::kernels {

/// The functions that gemv_prefetch() needs; must outlive every graph built with it.
struct GemvPrefetch {
  /// ggml_get_type_traits_cpu of the loaded CPU module (it is not exported by ggml's registry library).
  const ggml_type_traits_cpu* (*traits)(ggml_type) = nullptr;
  int64_t bytes_ahead = 8192;   // distance of the prefetch: a quarter of a small first-level cache
  int64_t min_bytes = 1 << 18;  // smaller weights stay in cache from token to token: ggml's kernel does as well
};

/// Takes products of one row of F32 with one contiguous matrix in plain host memory; nullptr for everything else.
ggml_tensor* gemv_prefetch(ggml_context* ctx, ggml_tensor* w, ggml_tensor* x, const GemvPrefetch& gemv);

}  // namespace etggml::kernels
