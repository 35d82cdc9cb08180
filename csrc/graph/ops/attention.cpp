// Softmax, rotary positions, fused attention.
#include "graph/adapt.h"
#include "graph/composed_attention.h"
#include "graph/op_row.h"
#include "graph/softmax.h"

namespace etggml::graph {
namespace {

using ll = long long;

constexpr int64_t kManyScores = 64 << 20;

/// Rotary factors at least half a row long. ggml's kernel reads one for every pair of the row, also for the pairs
/// beyond n_dims that it does not rotate. So shorter factors (partial rotary models) are padded; the padding is never
/// used.
ggml_tensor* whole_row_factors(NodeBuilder& b, ggml_tensor* factors, int64_t row) {
  if (factors->ne[0] >= row / 2) return factors;
  ggml_tensor*& padded = b.state().padded_factors[{factors, row}];
  if (!padded) padded = ggml_pad(b.ctx(), factors, static_cast<int>(row / 2 - factors->ne[0]), 0, 0, 0);
  return padded;
}

ggml_tensor* fused_attention(ggml_context* ctx, const AttentionArgs& args, const Sources& qkv) {
  ggml_tensor* y = ggml_flash_attn_ext(ctx, qkv[0], qkv[1], qkv[2], args.mask, args.scale, args.max_bias, args.softcap);
  if (args.sinks) ggml_flash_attn_ext_add_sinks(y, args.sinks);
  ggml_flash_attn_ext_set_prec(y, GGML_PREC_F32);
  return y;
}

Status check_soft_max(const ir::NodeCheck& c) {
  const auto& op = *c.node().op_as_SoftMax();
  if (!ir::finite({op.scale(), op.max_bias()}) || op.max_bias() < 0) return c.fail("scale or max_bias is out of range");
  return ok_status();
}

Result<ggml_tensor*> build_soft_max(NodeBuilder& b) {
  const auto* op = b.node().op_as_SoftMax();
  ggml_tensor* x = b.src(0);
  ggml_tensor* mask = b.src_count() > 1 ? b.src(1) : nullptr;
  ETGGML_RETURN_IF_ERROR(b.type_in(0, {GGML_TYPE_F32}));
  ETGGML_RETURN_IF_ERROR(b.contiguous(0));
  ETGGML_RETURN_IF_ERROR(b.dense_rows(0));
  ETGGML_RETURN_IF_ERROR(b.result_shape(shape_of(x)));
  if (mask) {
    ETGGML_RETURN_IF_ERROR(b.type_in(1, {GGML_TYPE_F16, GGML_TYPE_F32}));
    ETGGML_RETURN_IF_ERROR(b.contiguous(1));
    if (mask->ne[0] != x->ne[0] || mask->ne[1] < x->ne[1] || x->ne[2] % mask->ne[2] != 0 ||
        x->ne[3] % mask->ne[3] != 0) {
      return b.fail("the mask of shape %s does not cover %s", shape_text(shape_of(mask)).c_str(),
                    shape_text(shape_of(x)).c_str());
    }
  } else if (op->max_bias() > 0) {
    return b.fail("max_bias needs a mask");
  }
  if (op->empty_is_zero()) {
    if (op->max_bias() > 0) return b.fail("empty_is_zero with max_bias");
    return soft_max_or_zero(b, {x, mask, op->scale()});
  }
  return adapt(b, {x}, [=](ggml_context* ctx, const Sources& s) {
    return ggml_soft_max_ext(ctx, s[0], mask, op->scale(), op->max_bias());
  });
}

Status check_rope(const ir::NodeCheck& c) {
  const auto& r = *c.node().op_as_Rope();
  if (r.mode() != fb::RopeMode_Norm && r.mode() != fb::RopeMode_Neox) return c.fail("mode %d is unknown", r.mode());
  if (r.n_dims() < 2 || r.n_dims() % 2 != 0) return c.fail("n_dims %d is not an even number >= 2", r.n_dims());
  const bool numbers =
      ir::finite({r.freq_base(), r.freq_scale(), r.ext_factor(), r.attn_factor(), r.beta_fast(), r.beta_slow()});
  if (!numbers || r.freq_base() <= 0 || r.n_ctx_orig() < 0) return c.fail("a frequency parameter is out of range");
  return ok_status();
}

Result<ggml_tensor*> build_rope(NodeBuilder& b) {
  const auto* op = b.node().op_as_Rope();
  ggml_tensor* x = b.src(0);
  ggml_tensor* positions = b.src(1);
  ggml_tensor* factors = b.src_count() > 2 ? b.src(2) : nullptr;
  ETGGML_RETURN_IF_ERROR(b.type_in(0, {GGML_TYPE_F32, GGML_TYPE_F16}));
  ETGGML_RETURN_IF_ERROR(b.dense_rows(0));
  ETGGML_RETURN_IF_ERROR(b.type_in(1, {GGML_TYPE_I32}));
  ETGGML_RETURN_IF_ERROR(b.contiguous(1));
  if (positions->ne[0] != x->ne[2] || ggml_nelements(positions) != positions->ne[0]) {
    return b.fail("%s positions for x of shape %s; one per ne[2] is needed", shape_text(shape_of(positions)).c_str(),
                  shape_text(shape_of(x)).c_str());
  }
  if (op->n_dims() > x->ne[0] || x->ne[0] % 2 != 0) {
    return b.fail("n_dims %d of rows of %lld elements (which must be even)", op->n_dims(), static_cast<ll>(x->ne[0]));
  }
  if (factors) {
    ETGGML_RETURN_IF_ERROR(b.type_in(2, {GGML_TYPE_F32}));
    ETGGML_RETURN_IF_ERROR(b.contiguous(2));
    if (ggml_nelements(factors) != factors->ne[0] || factors->ne[0] < op->n_dims() / 2) {
      return b.fail("%s frequency factors for n_dims %d", shape_text(shape_of(factors)).c_str(), op->n_dims());
    }
    factors = whole_row_factors(b, factors, x->ne[0]);
  }
  ETGGML_RETURN_IF_ERROR(b.result_shape(shape_of(x)));
  const int mode = op->mode() == fb::RopeMode_Neox ? GGML_ROPE_TYPE_NEOX : GGML_ROPE_TYPE_NORMAL;
  return adapt(b, {x}, [=](ggml_context* ctx, const Sources& s) {
    return ggml_rope_ext(ctx, s[0], positions, factors, op->n_dims(), mode, op->n_ctx_orig(), op->freq_base(),
                         op->freq_scale(), op->ext_factor(), op->attn_factor(), op->beta_fast(), op->beta_slow());
  });
}

Status check_flash_attn(const ir::NodeCheck& c) {
  const auto& op = *c.node().op_as_FlashAttn();
  if (!ir::finite({op.scale(), op.max_bias(), op.softcap()}) || op.max_bias() < 0 || op.softcap() < 0) {
    return c.fail("scale, max_bias or softcap is out of range");
  }
  return c.known("hidden", op.hidden(), fb::HiddenKeys_MIN, fb::HiddenKeys_MAX);
}

Result<ggml_tensor*> build_flash_attn(NodeBuilder& b) {
  const auto* op = b.node().op_as_FlashAttn();
  ggml_tensor* q = b.src(0);
  ggml_tensor* k = b.src(1);
  ggml_tensor* v = b.src(2);
  ggml_tensor* mask = b.src_count() > 3 ? b.src(3) : nullptr;
  ggml_tensor* sinks = b.src_count() > 4 ? b.src(4) : nullptr;
  ETGGML_RETURN_IF_ERROR(b.type_in(0, {GGML_TYPE_F32}));
  if (!devices::cpu_can_multiply(k->type)) return b.type_problem(1, "there is no dot product for this type");
  if (!devices::cpu_can_multiply(v->type)) return b.type_problem(2, "it cannot be read as numbers");
  for (uint32_t i = 0; i < 3; ++i) ETGGML_RETURN_IF_ERROR(b.dense_rows(i));
  const int64_t block = ggml_blck_size(devices::cpu_vec_dot_type(k->type));
  if (k->ne[0] % block != 0) {
    return b.type_problem(1, format("a head of %lld elements is not whole blocks of %lld", static_cast<ll>(k->ne[0]),
                                    static_cast<ll>(block))
                                 .c_str());
  }
  if (k->ne[0] != q->ne[0] || v->ne[1] != k->ne[1] || q->ne[2] % k->ne[2] != 0 || q->ne[2] % v->ne[2] != 0 ||
      q->ne[3] != k->ne[3] || q->ne[3] != v->ne[3]) {
    return b.fail("q %s, k %s and v %s do not fit: [D, T, H, B], [D, S, Hkv, B], [Dv, S, Hkv, B]",
                  shape_text(shape_of(q)).c_str(), shape_text(shape_of(k)).c_str(), shape_text(shape_of(v)).c_str());
  }
  if (mask) {
    ETGGML_RETURN_IF_ERROR(b.type_in(3, {GGML_TYPE_F16}));
    ETGGML_RETURN_IF_ERROR(b.contiguous(3));
    if (mask->ne[0] != k->ne[1] || mask->ne[1] < q->ne[1] || q->ne[2] % mask->ne[2] != 0 ||
        q->ne[3] % mask->ne[3] != 0) {
      return b.fail("the mask of shape %s does not cover %lld keys and %lld queries",
                    shape_text(shape_of(mask)).c_str(), static_cast<ll>(k->ne[1]), static_cast<ll>(q->ne[1]));
    }
  } else if (op->max_bias() > 0) {
    return b.fail("max_bias needs a mask");
  }
  if (sinks) {
    ETGGML_RETURN_IF_ERROR(b.type_in(4, {GGML_TYPE_F32}));
    ETGGML_RETURN_IF_ERROR(b.contiguous(4));
    if (sinks->ne[0] != q->ne[2] || ggml_nelements(sinks) != sinks->ne[0]) {
      return b.fail("%s sinks for %lld heads", shape_text(shape_of(sinks)).c_str(), static_cast<ll>(q->ne[2]));
    }
  }
  ETGGML_RETURN_IF_ERROR(b.result_shape({v->ne[0], q->ne[2], q->ne[1], q->ne[3]}));
  static_assert(static_cast<int>(HiddenKeys::kCausal) == fb::HiddenKeys_MAX &&
                    static_cast<int>(HiddenKeys::kCounted) == fb::HiddenKeys_Counted,
                "kernels and schema number them alike");
  const AttentionArgs args{
      q, k, v, mask, sinks, op->scale(), op->max_bias(), op->softcap(), static_cast<HiddenKeys>(op->hidden())};
  if (b.options().kernels) {
    if (ggml_tensor* ours = b.options().kernels->attention(b.ctx(), args)) return ours;
  }
  const Make fused = [&args](ggml_context* ctx, const Sources& s) { return fused_attention(ctx, args, s); };
  // Fused kernels of GPUs round keys and values to fp16, so F32 models and F32 caches do not use them. ggml-cpu's
  // kernel skips hidden keys, makes a number of an infinite score, and NaN of scores that are all -inf. It is used only
  // if nothing is hidden and all scores would take a lot of memory.
  const bool on_cpu = !b.options().device;
  const bool many = k->ne[1] * ggml_nelements(q) / q->ne[0] > kManyScores;
  const bool fits = on_cpu ? (many && (!mask || args.hidden == HiddenKeys::kPassed)) || !b.options().kernels
                           : k->type != GGML_TYPE_F32 && v->type != GGML_TYPE_F32;
  if (fits && device_runs(b, {q, k, v}, fused)) return fused(b.ctx(), {q, k, v});
  return composed_attention(b, args);
}

}  // namespace

const OpRow kSoftMaxRow = row<fb::Op_SoftMax, build_soft_max, check_soft_max>();
const OpRow kRopeRow = row<fb::Op_Rope, build_rope, check_rope>();
const OpRow kFlashAttnRow = row<fb::Op_FlashAttn, build_flash_attn, check_flash_attn>();

}  // namespace etggml::graph
