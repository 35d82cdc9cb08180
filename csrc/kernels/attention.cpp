#include "kernels/attention.h"

#include "kernels/attention_paths.h"
#include "kernels/custom_op.h"

namespace etggml::kernels {
namespace {

// Queries that share a key head from which on converting its keys and values pays.
constexpr int64_t kMany = 16;
// Every thread keeps a tile of keys and values; no model has heads like that.
constexpr int64_t kMaxHead = 1024;

bool takes(const AttentionArgs& a) {
  if (a.k->type != a.v->type || !(a.k->type == GGML_TYPE_F16 || a.k->type == GGML_TYPE_F32)) return false;
  // Queries that share a key head also share its values' head.
  return a.k->ne[2] == a.v->ne[2] && a.k->ne[0] % kAttentionHeadStep == 0 && a.v->ne[0] % kAttentionHeadStep == 0 &&
         a.k->ne[0] <= kMaxHead && a.v->ne[0] <= kMaxHead && a.k->ne[1] > 0 && ggml_nelements(a.q) > 0;
}

}  // namespace

ggml_tensor* attention(ggml_context* ctx, const AttentionArgs& args, const AttentionKernel& kernel) {
  if (!takes(args)) return nullptr;
  if (args.q->ne[1] * (args.q->ne[2] / args.k->ne[2]) >= kMany) {
    return kernel.block.multiply ? attention_many(ctx, args, kernel) : nullptr;
  }
  return kernel.tile.f16 ? attention_few(ctx, args, kernel) : nullptr;
}

ggml_tensor* attention_node(ggml_context* ctx, const AttentionArgs& a, const char* name, int64_t chunks,
                            ggml_tensor* extra, ggml_custom_op_t compute, void* user, std::array<int64_t, 4> ne) {
  ggml_tensor* args[6] = {a.q, a.k, a.v};
  int n = 3;
  if (a.mask) args[n++] = a.mask;
  if (a.sinks) args[n++] = a.sinks;
  if (extra) args[n++] = extra;
  if (ne[0] == 0) ne = {a.v->ne[0], a.q->ne[2], a.q->ne[1], a.q->ne[3]};
  ggml_tensor* y =
      ggml_custom_4d(ctx, GGML_TYPE_F32, ne[0], ne[1], ne[2], ne[3], args, n, compute, GGML_N_TASKS_MAX, user);
  const AttentionParams params{a.scale,           a.max_bias,         a.softcap, static_cast<int16_t>(chunks),
                               a.mask != nullptr, a.sinks != nullptr, a.hidden};
  set_custom_op(y, name, params);
  return y;
}

}  // namespace etggml::kernels
