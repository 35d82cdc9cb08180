#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/attention_paths.h"
#include "kernels/kernel_guard.h"
#include "kernels/thread_memory.h"

namespace etggml::kernels {
namespace {

// Rows of one work item: their accumulators and one tile of keys and values fit second-level cache, and converting the
// tile is little work beside using it.
constexpr int64_t kRows = 256;

/// The mask of one tile for the queries of a work item. For every query it is nothing, everything without bias, or a
/// row of biases. If the mask differs among heads, it is so for every head of the group.
class TileMask {
 public:
  TileMask(const AttentionProblem& p, int64_t unit, int64_t from, int64_t to)
      : p_(p), unit_(unit), from_(from), queries_(to - from), per_head_(p.mask && p.mask->ne[2] != 1) {
    const size_t rows = static_cast<size_t>(queries_ * (per_head_ ? p_.group : 1));
    biases_.resize(rows * kAttentionTile);
    bias_.resize(static_cast<size_t>(queries_ * p_.group));
    sees_.resize(bias_.size());
  }

  /// Looks at positions [s, s + n); false if no query sees any of them. `all`: as far as hidden ones count, they are
  /// seen, with a bias of -inf.
  bool look(int64_t s, int n, bool all) {
    std::fill(visible, visible + kAttentionTile, false);
    hides = false;
    bool any = false;
    for (int64_t t = 0; t < queries_; ++t) {
      for (int64_t g = 0; g < p_.group; ++g) {
        const size_t row = static_cast<size_t>(t * p_.group + g);
        if (g > 0 && !per_head_) {
          sees_[row] = sees_[row - 1];
          bias_[row] = bias_[row - 1];
        } else {
          any |= look_row(s, n, t, g, row, all && s < p_.counted(from_ + t));
        }
      }
    }
    return any;
  }

  bool sees(int64_t row) const { return sees_[static_cast<size_t>(row)]; }
  const float* const* bias(int64_t row) const { return bias_.data() + row; }
  bool visible[kAttentionTile];  // by position: some query sees it
  bool hides = false;            // something from some query

 private:
  bool look_row(int64_t s, int n, int64_t t, int64_t g, size_t row, bool all) {
    static const ggml_fp16_t none[kAttentionTile] = {};
    const ggml_fp16_t* mask = p_.mask ? p_.mask_row(from_ + t, p_.head_of(unit_, g), p_.batch_of(unit_)) + s : none;
    bias_[row] = nullptr;
    sees_[row] = all || !all_equal(mask, n, kHalfMinusInfinity);
    if (!sees_[row]) {
      hides = true;
      return false;
    }
    if (n == kAttentionTile && all_equal(mask, n, 0)) {
      std::fill(visible, visible + n, true);
      return true;
    }
    float* bias = biases_.data() + static_cast<size_t>(per_head_ ? t * p_.group + g : t) * kAttentionTile;
    for (int i = 0; i < kAttentionTile; ++i) {
      bias[i] = i < n ? ggml_fp16_to_fp32(mask[i]) : -INFINITY;
      if (bounds_ && bias[i] != -INFINITY) bias[i] = INFINITY;
      const bool sees = bias[i] != -INFINITY;
      hides |= i < n && !sees;
      visible[i] |= sees || (all && i < n);
    }
    bias_[row] = bias;
    return true;
  }

  const AttentionProblem& p_;
  const int64_t unit_, from_, queries_;
  const bool per_head_;
  const bool bounds_ = p_.params.hidden == HiddenKeys::kCausal;
  std::vector<float> biases_;
  std::vector<const float*> bias_;
  std::vector<char> sees_;
};

/// Memory of a work item, kept by the thread.
struct Memory {
  float *q, *acc, *max, *sum, *slopes;
  AttentionOperands operands;

  void prepare(const AttentionProblem& p, int64_t rows) {
    const auto dk = static_cast<size_t>(p.dk), dv = static_cast<size_t>(p.dv), n = static_cast<size_t>(rows);
    const size_t floats = n * (dk + dv + 3) + kAttentionTile * (dk + dv);
    operands.keys = reinterpret_cast<float*>(thread_memory<Memory>(floats * sizeof(float)));
    operands.values = operands.keys + kAttentionTile * dk;
    q = operands.values + kAttentionTile * dv;
    acc = q + n * dk;
    max = acc + n * dv;
    sum = max + n;
    slopes = sum + n;
    std::fill(acc, acc + n * dv, 0.0f);
    std::fill(max, max + n, -INFINITY);
    std::fill(sum, sum + n, 0.0f);
  }
};

/// Queries [from, to) of one unit; false when the call is to end.
bool compute_item(ggml_tensor* y, int thread, const AttentionProblem& p, const AttentionBlockFunctions& f, int64_t unit,
                  int64_t from, int64_t to) {
  Memory m;
  const int64_t rows = (to - from) * p.group;
  m.prepare(p, rows);
  p.load_queries(unit, from, to, m.q, m.slopes);
  const auto convert = p.k->type == GGML_TYPE_F16 ? f.convert_f16 : f.convert_f32;
  TileMask mask(p, unit, from, to);
  const bool counts = p.params.hidden != HiddenKeys::kPassed;
  const bool tame = counts && p.is_tame(m.q, rows * p.dk);
  AttentionBlock block;
  block.operands = m.operands;
  block.dk = p.dk;
  block.dv = p.dv;
  block.softcap = p.params.softcap;
  block.bounds = p.params.hidden == HiddenKeys::kCausal;
  for (int64_t s = 0; s < p.positions; s += kAttentionTile) {
    if (stopped(y, thread)) return false;
    const int n = static_cast<int>(std::min<int64_t>(kAttentionTile, p.positions - s));
    bool any = mask.look(s, n, false);
    if (counts && mask.hides && !(tame && p.is_tame(unit, s, n))) any = mask.look(s, n, true);
    if (!any) continue;
    convert(p.key(unit, s), static_cast<int64_t>(p.k->nb[1]), p.dk, p.value(unit, s), static_cast<int64_t>(p.v->nb[1]),
            p.dv, mask.visible, n, m.operands);
    for (int64_t row = 0; row < rows;) {
      if (!mask.sees(row)) {
        ++row;
        continue;
      }
      int64_t end = row + 1;
      while (end < rows && mask.sees(end)) ++end;
      block.rows = static_cast<int>(end - row);
      block.q = m.q + row * p.dk;
      block.bias = mask.bias(row);
      block.slopes = m.slopes + row;
      block.acc = m.acc + row * p.dv;
      block.max = m.max + row;
      block.sum = m.sum + row;
      f.multiply(block);
      row = end;
    }
  }
  for (int64_t row = 0; row < rows; ++row) {
    const int64_t head = p.head_of(unit, row % p.group);
    p.write_result(head, m.acc + row * p.dv, m.max[row], m.sum[row],
                   p.output_row(y, p.batch_of(unit), from + row / p.group, head));
  }
  return true;
}

void compute(ggml_tensor* y, int thread, int threads, void* user) {
  const AttentionProblem p(y);
  const int64_t step = std::max<int64_t>(1, kRows / p.group);  // queries of an item
  const int64_t items = p.units * ((p.queries + step - 1) / step);
  // Dealt out one by one, blocks of queries outermost: later queries see more, and every thread gets some of each.
  for (int64_t i = thread; i < items; i += threads) {
    const int64_t from = i / p.units * step;
    const auto& f = *static_cast<const AttentionBlockFunctions*>(user);
    if (!compute_item(y, thread, p, f, i % p.units, from, std::min(p.queries, from + step))) return;
  }
}

}  // namespace

ggml_tensor* attention_many(ggml_context* ctx, const AttentionArgs& args, const AttentionKernel& kernel) {
  return attention_node(ctx, args, "ATTENTION", 1, nullptr, guarded_kernel<compute>,
                        const_cast<AttentionBlockFunctions*>(&kernel.block));
}

}  // namespace etggml::kernels
