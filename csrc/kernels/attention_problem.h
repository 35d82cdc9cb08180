// One attention node as its kernels see it: operands, sizes that follow from their shapes, and where rows lie.
#pragma once

#include <cstdint>

#include "kernels/custom_op.h"
#include "kernels/kernels.h"

namespace etggml::kernels {

/// Are n numbers of half precision all the one with these bits?
inline bool all_equal(const ggml_fp16_t* x, int n, ggml_fp16_t bits) {
  int different = 0;
  for (int i = 0; i < n; ++i) different |= x[i] ^ bits;
  return different == 0;
}

constexpr ggml_fp16_t kHalfMinusInfinity = 0xfc00;

struct AttentionParams {
  float scale;
  float max_bias;
  float softcap;
  int16_t chunks;  // pieces that the positions are cut into for the threads
  bool has_mask;
  bool has_sinks;
  HiddenKeys hidden;
};

/// The operands of a node and sizes that follow from their shapes.
struct AttentionProblem {
  explicit AttentionProblem(const ggml_tensor* y)
      : params(custom_op_params<AttentionParams>(y)),
        q(y->src[0]),
        k(y->src[1]),
        v(y->src[2]),
        mask(params.has_mask ? y->src[3] : nullptr),
        sinks(params.has_sinks ? y->src[params.has_mask ? 4 : 3] : nullptr),
        dk(static_cast<int>(q->ne[0])),
        dv(static_cast<int>(v->ne[0])),
        queries(q->ne[1]),
        heads(q->ne[2]),
        batch(q->ne[3]),
        group(q->ne[2] / k->ne[2]),
        units(k->ne[2] * q->ne[3]),
        positions(k->ne[1]) {}

  const AttentionParams params;
  const ggml_tensor *q, *k, *v, *mask, *sinks;
  const int dk, dv;
  const int64_t queries, heads, batch, group;
  const int64_t units;  // key heads of all batches
  const int64_t positions;

  int64_t rows() const { return queries * group; }  // queries that share a key head
  int64_t batch_of(int64_t unit) const { return unit / k->ne[2]; }
  int64_t head_of(int64_t unit, int64_t g) const { return unit % k->ne[2] * group + g; }
  const char* key(int64_t unit, int64_t s) const { return row(k, unit % k->ne[2], batch_of(unit), s); }
  const char* value(int64_t unit, int64_t s) const { return row(v, unit % v->ne[2], batch_of(unit), s); }
  const ggml_fp16_t* mask_row(int64_t query, int64_t head, int64_t b) const {
    return reinterpret_cast<const ggml_fp16_t*>(row(mask, head % mask->ne[2], b % mask->ne[3], query));
  }
  /// Positions from here on count nothing for a query that the mask hides them from.
  int64_t counted(int64_t query) const;
  /// Whether all values at positions [s, s + n) are numbers, and small enough that a dot product with small numbers is
  /// one too. It then makes no difference whether masked positions are skipped. False for NaN and infinities.
  bool is_tame(int64_t unit, int64_t s, int n) const;
  /// The same for queries as load_queries() gives them.
  static bool is_tame(const float* x, int64_t n);
  float* output_row(ggml_tensor* y, int64_t b, int64_t query, int64_t head) const {
    return static_cast<float*>(y->data) + ((b * queries + query) * heads + head) * dv;
  }

  /// Queries [from, to) of a unit times the scale, and their slopes. Rows are ordered by query, then by head of the
  /// group: those of one query see the same positions.
  void load_queries(int64_t unit, int64_t from, int64_t to, float* out, float* slopes) const;
  /// acc / sum with the head's sink, a score without a value, counted in.
  void write_result(int64_t head, const float* acc, float max, float sum, float* out) const;

 private:
  static const char* row(const ggml_tensor* t, int64_t head, int64_t batch, int64_t s) {
    return static_cast<const char*>(t->data) + head * static_cast<int64_t>(t->nb[2]) +
           batch * static_cast<int64_t>(t->nb[3]) + s * static_cast<int64_t>(t->nb[1]);
  }
  float slope(int64_t head) const;
};

}  // namespace etggml::kernels
