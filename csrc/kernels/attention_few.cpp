#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "kernels/attention_paths.h"
#include "kernels/attention_problem.h"
#include "kernels/kernel_guard.h"
#include "kernels/thread_memory.h"

namespace etggml::kernels {
namespace {

/// Which positions of a tile a query sees, and with which bias.
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

  /// All of them, those that are hidden with a bias of -inf.
  void read_all(const ggml_fp16_t* mask, int n) {
    all(n);
    biased = true;
    for (int i = 0; i < n; ++i) bias[i] = ggml_fp16_to_fp32(mask[i]);
  }

  void read(const ggml_fp16_t* mask, int n) {
    if (all_equal(mask, n, 0)) return all(n);
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
  Worker(const AttentionProblem& problem, AttentionTileFunction tile, int64_t first_unit, int64_t last_unit)
      : p_(problem), tile_(tile), first_(first_unit), last_(last_unit), views_(static_cast<size_t>(p_.queries)) {
    struct Few {};
    const size_t rows = static_cast<size_t>((last_ - first_) * p_.rows());
    q_ = reinterpret_cast<float*>(thread_memory<Few>(rows * static_cast<size_t>(p_.dk + p_.dv + 3) * sizeof(float)));
    acc_ = q_ + rows * static_cast<size_t>(p_.dk);
    max_ = acc_ + rows * static_cast<size_t>(p_.dv);
    sum_ = max_ + rows;
    slope_ = sum_ + rows;
    std::fill(acc_, acc_ + rows * static_cast<size_t>(p_.dv), 0.0f);
    std::fill(max_, max_ + rows, -INFINITY);
    std::fill(sum_, sum_ + rows, 0.0f);
    for (int64_t u = first_; u < last_; ++u) {
      const int64_t i = (u - first_) * p_.rows();
      p_.load_queries(u, 0, p_.queries, q_ + i * p_.dk, slope_ + i);
    }
    tame_ = counts_ && p_.is_tame(q_, static_cast<int64_t>(rows) * p_.dk);
  }

  /// False when the call is to end.
  bool run(const ggml_tensor* y, int thread, int64_t from, int64_t to) {
    for (int64_t s = from; s < to; s += kAttentionTile) {
      if (stopped(y, thread)) return false;
      const int n = static_cast<int>(std::min<int64_t>(kAttentionTile, to - s));
      if (!p_.mask) {
        views_[0].all(n);
      } else if (p_.mask->ne[2] == 1 && p_.mask->ne[3] == 1) {
        if (!look(s, n, 0, 0) && !counts_) continue;
      }
      for (int64_t u = first_; u < last_; ++u) {
        const bool last = u + 1 == last_;
        const int64_t next = last ? first_ : u + 1, at = last ? s + kAttentionTile : s;
        unit(u, s, n, at < to ? p_.key(next, at) : nullptr, at < to ? p_.value(next, at) : nullptr);
      }
    }
    return true;
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
  /// Reads the mask of every query for a tile; false when none sees any of it. `all`: hidden positions that
  /// count are seen.
  bool look(int64_t s, int n, int64_t head, int64_t batch, bool all = false) {
    bool any = false;
    hides_ = false;
    for (int64_t t = 0; t < p_.queries; ++t) {
      View& view = views_[static_cast<size_t>(t)];
      const ggml_fp16_t* mask = p_.mask_row(t, head, batch) + s;
      all&& s < p_.counted(t) ? view.read_all(mask, n) : view.read(mask, n);
      any |= view.count > 0;
      hides_ |= view.count < n;
    }
    whole_ = all;
    return any;
  }

  /// The same for one unit, which may hold hidden numbers that show (NaN).
  bool look_at_unit(int64_t u, int64_t s, int n, int64_t head) {
    const bool shared = p_.mask->ne[2] == 1 && p_.mask->ne[3] == 1;
    // The tile that run() has read is still there, unless a unit before this one wanted more.
    bool any = shared && !whole_ ? true : look(s, n, head, p_.batch_of(u));
    if (counts_ && hides_ && !(tame_ && p_.is_tame(u, s, n))) any = look(s, n, head, p_.batch_of(u), true);
    return any;
  }

  void unit(int64_t u, int64_t s, int n, const char* next_k, const char* next_v) {
    AttentionTile tile;
    tile.k = p_.key(u, s);
    tile.v = p_.value(u, s);
    tile.k_stride = static_cast<int64_t>(p_.k->nb[1]);
    tile.v_stride = static_cast<int64_t>(p_.v->nb[1]);
    tile.next_k = next_k;
    tile.next_v = next_v;
    tile.dk = p_.dk;
    tile.dv = p_.dv;
    tile.softcap = p_.params.softcap;
    tile.bounds = p_.params.hidden == HiddenKeys::kCausal;
    if (p_.mask && p_.mask->ne[2] != 1) {  // a mask of its own for every head
      for (int64_t g = 0; g < p_.group; ++g) {
        if (!look_at_unit(u, s, n, p_.head_of(u, g))) continue;
        for (int64_t t = 0; t < p_.queries; ++t) rows(tile, u, t * p_.group + g, 1, views_[static_cast<size_t>(t)]);
      }
      return;
    }
    if (p_.mask && (counts_ || p_.mask->ne[3] != 1) && !look_at_unit(u, s, n, 0)) return;
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

  const AttentionProblem& p_;
  const AttentionTileFunction tile_;
  const int64_t first_, last_;
  std::vector<View> views_;
  const bool counts_ = p_.params.hidden != HiddenKeys::kPassed && p_.mask != nullptr;
  bool tame_ = false;   // the queries
  bool hides_ = false;  // something of the tile from some query
  bool whole_ = false;  // views hold hidden positions, too
  float *q_, *acc_, *max_, *sum_, *slope_;
};

void compute(ggml_tensor* y, int thread, int threads, void* user) {
  const auto& functions = *static_cast<const AttentionTileFunctions*>(user);
  const AttentionProblem p(y);
  const AttentionTileFunction tile = p.k->type == GGML_TYPE_F16 ? functions.f16 : functions.f32;
  const int64_t chunks = p.params.chunks, tiles = (p.positions + kAttentionTile - 1) / kAttentionTile;
  const int64_t items = chunks * p.units;  // by chunk, then by unit
  int64_t item = items * thread / threads;
  const int64_t end = items * (thread + 1) / threads;
  while (item < end) {
    const int64_t chunk = item / p.units, first = item % p.units, last = std::min(p.units, first + end - item);
    item += last - first;
    Worker worker(p, tile, first, last);
    const int64_t from = tiles * chunk / chunks * kAttentionTile;
    const int64_t to = std::min(p.positions, tiles * (chunk + 1) / chunks * kAttentionTile);
    if (!worker.run(y, thread, from, to)) return;
    worker.finish([&](int64_t unit, int64_t row, const float* acc, float max, float sum) {
      const int64_t batch = p.batch_of(unit), head = p.head_of(unit, row % p.group);
      if (chunks == 1) {
        p.write_result(head, acc, max, sum, p.output_row(y, batch, row / p.group, head));
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
  const AttentionProblem p(y);
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
      // A part that saw nothing has a maximum of -inf, and zeros or NaN.
      const float factor = part(c)[p.dv + 1] == 0.0f ? 1.0f : std::exp(part(c)[p.dv] - max);
      for (int d = 0; d < p.dv; ++d) acc[static_cast<size_t>(d)] += part(c)[d] * factor;
      sum += part(c)[p.dv + 1] * factor;
    }
    p.write_result(at % p.heads, acc.data(), max, sum, static_cast<float*>(y->data) + at * p.dv);
  }
}

}  // namespace

ggml_tensor* attention_few(ggml_context* ctx, const AttentionArgs& a, const AttentionKernel& kernel) {
  const int64_t units = a.k->ne[2] * a.q->ne[3], tiles = (a.k->ne[1] + kAttentionTile - 1) / kAttentionTile;
  // Whole heads to each thread if they share out evenly; otherwise the fewest chunks of positions that make it so.
  const int64_t even = kernel.threads / std::gcd<int64_t>(units, kernel.threads);
  const int64_t chunks = std::clamp<int64_t>(even, 1, std::min<int64_t>(tiles, INT16_MAX));
  const int64_t dv = a.v->ne[0], rows = a.q->ne[2] * a.q->ne[1] * a.q->ne[3];
  void* user = const_cast<AttentionTileFunctions*>(&kernel.tile);
  if (chunks == 1) return attention_node(ctx, a, "ATTENTION", chunks, nullptr, guarded_kernel<compute>, user);
  ggml_tensor* parts =
      attention_node(ctx, a, "ATTENTION", chunks, nullptr, guarded_kernel<compute>, user, {dv + 2, rows, chunks, 1});
  return attention_node(ctx, a, "ATTENTION_JOIN", chunks, parts, guarded_kernel<join>, user);
}

}  // namespace etggml::kernels
