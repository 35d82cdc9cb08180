#include "graph/kernels/attention.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>
#include <vector>

#include "graph/kernels/custom_op.h"

namespace etggml::graph {
namespace {

struct Params {
  float scale;
  float max_bias;
  float softcap;
  int16_t chunks;  // pieces that the positions are cut into for the threads
  bool has_mask;
  bool has_sinks;
};

/// The operands of a node and what follows from their shapes.
struct Problem {
  explicit Problem(const ggml_tensor* y)
      : params(custom_op_params<Params>(y)),
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

  const Params params;
  const ggml_tensor *q, *k, *v, *mask, *sinks;
  const int dk, dv;
  const int64_t queries, heads, batch, group;
  const int64_t units;  // key heads of all batches
  const int64_t positions;

  int64_t rows() const { return queries * group; }  // queries that share a key head
  /// ggml's ALiBi slopes (soft_max_ext): powers of 2^(-max_bias / n) for the first n heads, n a power of two, then the
  /// odd powers of its square root.
  float slope(int64_t head) const {
    if (params.max_bias <= 0.0f) return 1.0f;
    const auto n = static_cast<int64_t>(1) << static_cast<int>(std::floor(std::log2(static_cast<double>(heads))));
    return head < n ? std::pow(2.0f, -params.max_bias / n * (head + 1))
                    : std::pow(2.0f, -params.max_bias / 2.0f / n * (2 * (head - n) + 1));
  }
};

/// Which positions of a tile a query sees, and with what bias.
struct View {
  uint8_t visible[kAttentionTile];
  float bias[kAttentionTile];
  int count = 0;
  bool biased = false;

  void all(int n) {
    std::iota(visible, visible + n, uint8_t{0});
    count = n;
    biased = false;
  }

  void read(const ggml_fp16_t* mask, int n) {
    static const ggml_fp16_t zeros[kAttentionTile] = {};
    if (std::memcmp(mask, zeros, static_cast<size_t>(n) * sizeof(*mask)) == 0) return all(n);
    count = 0;
    biased = false;
    for (int i = 0; i < n; ++i) {
      const float x = ggml_fp16_to_fp32(mask[i]);
      if (x == -INFINITY) continue;  // its key and value may be anything, even NaN
      visible[count] = static_cast<uint8_t>(i);
      biased |= x != 0.0f;
      bias[count++] = x;
    }
  }
};

/// The units and positions of one thread. Works on a tile of positions for all of its units before the next tile.
class Worker {
 public:
  Worker(const Problem& problem, AttentionTileFunction tile, int64_t first_unit, int64_t last_unit)
      : p_(problem), tile_(tile), first_(first_unit), last_(last_unit), views_(static_cast<size_t>(p_.queries)) {
    static thread_local std::vector<float> memory;
    const size_t rows = static_cast<size_t>((last_ - first_) * p_.rows());
    memory.resize(rows * static_cast<size_t>(p_.dk + p_.dv + 3));
    q_ = memory.data();
    acc_ = q_ + rows * static_cast<size_t>(p_.dk);
    max_ = acc_ + rows * static_cast<size_t>(p_.dv);
    sum_ = max_ + rows;
    slope_ = sum_ + rows;
    std::fill(acc_, acc_ + rows * static_cast<size_t>(p_.dv), 0.0f);
    std::fill(max_, max_ + rows, -INFINITY);
    std::fill(sum_, sum_ + rows, 0.0f);
    load_queries();
  }

  void run(int64_t from, int64_t to) {
    for (int64_t s = from; s < to; s += kAttentionTile) {
      const int n = static_cast<int>(std::min<int64_t>(kAttentionTile, to - s));
      if (!p_.mask) {
        views_[0].all(n);
      } else if (p_.mask->ne[2] == 1 && p_.mask->ne[3] == 1) {
        if (!look(s, n, 0, 0)) continue;
      }
      for (int64_t u = first_; u < last_; ++u) {
        const bool last = u + 1 == last_;
        const int64_t next = last ? first_ : u + 1, at = last ? s + kAttentionTile : s;
        unit(u, s, n, at < to ? key(next, at) : nullptr, at < to ? value(next, at) : nullptr);
      }
    }
  }

  /// Writes each row with write(unit, row, acc, max, sum).
  template <class Write>
  void finish(const Write& write) const {
    for (int64_t u = first_; u < last_; ++u) {
      for (int64_t r = 0; r < p_.rows(); ++r) {
        const int64_t i = (u - first_) * p_.rows() + r;
        write(u, r, acc_ + i * p_.dv, max_[i], sum_[i]);
      }
    }
  }

 private:
  int64_t batch_of(int64_t unit) const { return unit / p_.k->ne[2]; }
  int64_t head_of(int64_t unit, int64_t g) const { return unit % p_.k->ne[2] * p_.group + g; }
  const char* key(int64_t unit, int64_t s) const { return row(p_.k, unit % p_.k->ne[2], batch_of(unit), s); }
  const char* value(int64_t unit, int64_t s) const {
    return row(p_.v, head_of(unit, 0) / (p_.heads / p_.v->ne[2]), batch_of(unit), s);
  }
  static const char* row(const ggml_tensor* t, int64_t head, int64_t batch, int64_t s) {
    return static_cast<const char*>(t->data) + head * static_cast<int64_t>(t->nb[2]) +
           batch * static_cast<int64_t>(t->nb[3]) + s * static_cast<int64_t>(t->nb[1]);
  }

  // Rows of a unit are ordered by query, then by head of the group: those of one query see the same positions.
  void load_queries() {
    const float factor = p_.params.softcap != 0.0f ? p_.params.scale / p_.params.softcap : p_.params.scale;
    for (int64_t u = first_; u < last_; ++u) {
      for (int64_t r = 0; r < p_.rows(); ++r) {
        const int64_t head = head_of(u, r % p_.group), i = (u - first_) * p_.rows() + r;
        const auto* from = reinterpret_cast<const float*>(row(p_.q, head, batch_of(u), r / p_.group));
        for (int d = 0; d < p_.dk; ++d) q_[i * p_.dk + d] = from[d] * factor;
        slope_[i] = p_.slope(head);
      }
    }
  }

  /// Reads the mask of every query for a tile; false when none sees any of it.
  bool look(int64_t s, int n, int64_t head, int64_t batch) {
    bool any = false;
    for (int64_t t = 0; t < p_.queries; ++t) {
      const char* mask = row(p_.mask, head % p_.mask->ne[2], batch % p_.mask->ne[3], t);
      views_[static_cast<size_t>(t)].read(reinterpret_cast<const ggml_fp16_t*>(mask) + s, n);
      any |= views_[static_cast<size_t>(t)].count > 0;
    }
    return any;
  }

  void unit(int64_t u, int64_t s, int n, const char* next_k, const char* next_v) {
    AttentionTile tile;
    tile.k = key(u, s);
    tile.v = value(u, s);
    tile.k_stride = static_cast<int64_t>(p_.k->nb[1]);
    tile.v_stride = static_cast<int64_t>(p_.v->nb[1]);
    tile.next_k = next_k;
    tile.next_v = next_v;
    tile.dk = p_.dk;
    tile.dv = p_.dv;
    tile.softcap = p_.params.softcap;
    if (p_.mask && p_.mask->ne[2] != 1) {  // a mask of its own for every head
      for (int64_t g = 0; g < p_.group; ++g) {
        if (!look(s, n, head_of(u, g), batch_of(u))) continue;
        for (int64_t t = 0; t < p_.queries; ++t) rows(tile, u, t * p_.group + g, 1, views_[static_cast<size_t>(t)]);
      }
      return;
    }
    if (p_.mask && p_.mask->ne[3] != 1 && !look(s, n, 0, batch_of(u))) return;
    for (int64_t t = 0; t < p_.queries; ++t) {
      const View& view = views_[p_.mask ? static_cast<size_t>(t) : 0];
      for (int64_t g = 0; g < p_.group; g += kAttentionMaxRows) {
        rows(tile, u, t * p_.group + g, std::min<int64_t>(kAttentionMaxRows, p_.group - g), view);
      }
    }
  }

  void rows(AttentionTile& tile, int64_t u, int64_t first, int64_t count, const View& view) {
    if (view.count == 0) return;
    const int64_t i = (u - first_) * p_.rows() + first;
    tile.visible = view.visible;
    tile.count = view.count;
    tile.bias = view.biased ? view.bias : nullptr;
    std::copy(slope_ + i, slope_ + i + count, tile.slopes);
    tile.rows = static_cast<int>(count);
    tile.q = q_ + i * p_.dk;
    tile.acc = acc_ + i * p_.dv;
    tile.max = max_ + i;
    tile.sum = sum_ + i;
    tile_(tile);
    tile.next_k = tile.next_v = nullptr;  // asked for already
  }

  const Problem& p_;
  const AttentionTileFunction tile_;
  const int64_t first_, last_;
  std::vector<View> views_;
  float *q_, *acc_, *max_, *sum_, *slope_;
};

float* output_row(ggml_tensor* y, const Problem& p, int64_t batch, int64_t query, int64_t head) {
  return static_cast<float*>(y->data) + ((batch * p.queries + query) * p.heads + head) * p.dv;
}

/// acc / sum with the head's sink, a score without a value, counted in.
void write_result(const Problem& p, int64_t head, const float* acc, float max, float sum, float* out) {
  float factor = 1.0f;
  if (p.sinks) {
    const float sink = static_cast<const float*>(p.sinks->data)[head], top = std::max(max, sink);
    factor = std::exp(max - top);
    sum = sum * factor + std::exp(sink - top);
  }
  factor = sum == 0.0f ? 0.0f : factor / sum;  // a query that sees nothing
  for (int d = 0; d < p.dv; ++d) out[d] = acc[d] * factor;
}

void compute(ggml_tensor* y, int thread, int threads, void* user) {
  const auto& functions = *static_cast<const AttentionTileFunctions*>(user);
  const Problem p(y);
  const AttentionTileFunction tile = p.k->type == GGML_TYPE_F16 ? functions.f16 : functions.f32;
  const int64_t chunks = p.params.chunks, tiles = (p.positions + kAttentionTile - 1) / kAttentionTile;
  const int64_t items = chunks * p.units;  // by chunk, then by unit
  int64_t item = items * thread / threads;
  const int64_t end = items * (thread + 1) / threads;
  while (item < end) {
    const int64_t chunk = item / p.units, first = item % p.units, last = std::min(p.units, first + end - item);
    item += last - first;
    Worker worker(p, tile, first, last);
    worker.run(tiles * chunk / chunks * kAttentionTile,
               std::min(p.positions, tiles * (chunk + 1) / chunks * kAttentionTile));
    worker.finish([&](int64_t unit, int64_t row, const float* acc, float max, float sum) {
      const int64_t batch = unit / p.k->ne[2], head = unit % p.k->ne[2] * p.group + row % p.group;
      if (chunks == 1) {
        write_result(p, head, acc, max, sum, output_row(y, p, batch, row / p.group, head));
        return;
      }
      const int64_t rows = p.batch * p.queries * p.heads;
      const int64_t at = (batch * p.queries + row / p.group) * p.heads + head;
      float* out = static_cast<float*>(y->data) + (chunk * rows + at) * (p.dv + 2);
      std::copy(acc, acc + p.dv, out);
      out[p.dv] = max;
      out[p.dv + 1] = sum;
    });
  }
}

/// Joins the results of the chunks, which are the node's last source.
void join(ggml_tensor* y, int thread, int threads, void*) {
  const Problem p(y);
  const ggml_tensor* parts = y->src[3 + p.params.has_mask + p.params.has_sinks];
  const int64_t rows = p.batch * p.queries * p.heads;
  std::vector<float> acc(static_cast<size_t>(p.dv));
  for (int64_t at = rows * thread / threads; at < rows * (thread + 1) / threads; ++at) {
    const auto part = [&](int64_t chunk) {
      return static_cast<const float*>(parts->data) + (chunk * rows + at) * (p.dv + 2);
    };
    float max = -INFINITY, sum = 0.0f;
    for (int64_t c = 0; c < p.params.chunks; ++c) max = std::max(max, part(c)[p.dv]);
    std::fill(acc.begin(), acc.end(), 0.0f);
    for (int64_t c = 0; c < p.params.chunks; ++c) {
      if (part(c)[p.dv + 1] == 0.0f) continue;  // saw nothing: its maximum is -inf
      const float factor = std::exp(part(c)[p.dv] - max);
      for (int d = 0; d < p.dv; ++d) acc[static_cast<size_t>(d)] += part(c)[d] * factor;
      sum += part(c)[p.dv + 1] * factor;
    }
    write_result(p, at % p.heads, acc.data(), max, sum, static_cast<float*>(y->data) + at * p.dv);
  }
}

bool takes(const AttentionArgs& a, const AttentionKernel& kernel) {
  const bool half = a.k->type == GGML_TYPE_F16;
  if (a.k->type != a.v->type || !(half || a.k->type == GGML_TYPE_F32)) return false;
  if ((half ? kernel.tile.f16 : kernel.tile.f32) == nullptr) return false;
  // Sharing passes over a key head also shares its values' head.
  return a.q->ne[1] <= kAttentionMaxQueries && a.k->ne[2] == a.v->ne[2] && a.k->ne[0] % kAttentionHeadStep == 0 &&
         a.v->ne[0] % kAttentionHeadStep == 0 && a.k->ne[1] > 0 && ggml_nelements(a.q) > 0;
}

}  // namespace

ggml_tensor* attention(ggml_context* ctx, const AttentionArgs& a, const AttentionKernel& kernel) {
  if (!takes(a, kernel)) return nullptr;
  const int64_t units = a.k->ne[2] * a.q->ne[3], tiles = (a.k->ne[1] + kAttentionTile - 1) / kAttentionTile;
  // Whole heads to each thread if they share out evenly; otherwise the fewest chunks of positions that make it so.
  const int64_t even = kernel.threads / std::gcd<int64_t>(units, kernel.threads);
  const auto chunks = static_cast<int16_t>(std::clamp<int64_t>(even, 1, std::min<int64_t>(tiles, INT16_MAX)));
  const Params params{a.scale, a.max_bias, a.softcap, chunks, a.mask != nullptr, a.sinks != nullptr};
  ggml_tensor* args[6] = {a.q, a.k, a.v};
  int n = 3;
  if (a.mask) args[n++] = a.mask;
  if (a.sinks) args[n++] = a.sinks;
  void* user = const_cast<AttentionTileFunctions*>(&kernel.tile);
  const int64_t dv = a.v->ne[0], heads = a.q->ne[2], queries = a.q->ne[1], batch = a.q->ne[3];
  if (chunks == 1) {
    ggml_tensor* y =
        ggml_custom_4d(ctx, GGML_TYPE_F32, dv, heads, queries, batch, args, n, compute, GGML_N_TASKS_MAX, user);
    set_custom_op(y, "ATTENTION", params);
    return y;
  }
  ggml_tensor* parts = ggml_custom_4d(ctx, GGML_TYPE_F32, dv + 2, heads * queries * batch, chunks, 1, args, n, compute,
                                      GGML_N_TASKS_MAX, user);
  set_custom_op(parts, "ATTENTION", params);
  args[n++] = parts;
  ggml_tensor* y = ggml_custom_4d(ctx, GGML_TYPE_F32, dv, heads, queries, batch, args, n, join, GGML_N_TASKS_MAX, user);
  set_custom_op(y, "ATTENTION_JOIN", params);
  return y;
}

}  // namespace etggml::graph
