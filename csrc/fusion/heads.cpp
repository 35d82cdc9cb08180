#include "fusion/heads.h"

#include <algorithm>

#include "device_rules/node_params.h"
#include "fusion/norms.h"

namespace etggml::fusion {
namespace {

using cuda::AttentionDesc;
using cuda::HeadsDesc;

int64_t stride(const ggml_tensor* t, int axis) { return static_cast<int64_t>(t->nb[axis] / ggml_type_size(t->type)); }

/// The rotation in ROPE's parameters. False where our kernel cannot do it: YaRN's blend of two frequencies, and modes
/// of vision models.
struct Rope {
  const ggml_tensor *positions = nullptr, *factors = nullptr;
  int64_t positions_offset = 0;
  int32_t n_dims = 0;
  bool neox = false;
  float base = 1, scale = 1, attn = 1;

  bool read(const ggml_tensor* node) {
    const device_rules::RopeParams params = device_rules::rope_params(node);
    if (params.mode != GGML_ROPE_TYPE_NORMAL && params.mode != GGML_ROPE_TYPE_NEOX) return false;
    if (params.blend != 0.0f || params.offset != 0) return false;
    positions = memory_of(node->src[1]);
    positions_offset = offset_in_memory(node->src[1]);
    factors = node->src[2];
    if (factors != nullptr && (!has_memory(factors) || factors->view_src != nullptr)) return false;
    n_dims = params.n_dims;
    neox = params.mode == GGML_ROPE_TYPE_NEOX;
    base = params.base;
    scale = params.scale;
    attn = params.attn;
    return positions->type == GGML_TYPE_I32;
  }
  bool same_rotation(const Rope& o) const {
    return factors == o.factors && n_dims == o.n_dims && neox == o.neox && base == o.base && scale == o.scale &&
           attn == o.attn;
  }
};

/// Heads [D, H, T], in place.
bool heads_input(ggml_tensor* t, int64_t d, HeadsDesc::Input* in) {
  if (t->type != GGML_TYPE_F32 || t->ne[0] != d || t->ne[3] != 1 || stride(t, 0) != 1 || stride(t, 1) != d)
    return false;
  in->tensor = memory_of(t);
  in->offset = offset_in_memory(t);
  in->token_stride = stride(t, 2);
  return true;
}

/// Rotation and norm of heads [D, H, T]. `t` is the source of the next operation, without views.
bool unwind(ggml_tensor* t, int64_t d, HeadsDesc::Input* in, Rope* rope) {
  if (t->op == GGML_OP_ROPE) {
    if (!rope->read(t)) return false;
    in->rotate = true;
    t = t->src[0];
  }
  const Normalised norm = normalised(behind_views(t), d);
  if (norm.x != nullptr && offset_in_memory(t) == 0 && ggml_is_contiguous(t)) {
    in->norm = true;
    in->gain = norm.gain;
    in->eps = norm.eps;
    t = norm.x;
  }
  return heads_input(t, d, in);
}

/// The write that a view of a cache was made from.
ggml_tensor* write_of(ggml_tensor* view) {
  ggml_tensor* node = behind_views(view);
  return node->op == GGML_OP_SET_ROWS ? node : nullptr;
}

/// A cache written at whole rows of Hkv * D elements.
bool plain_write(const ggml_tensor* write, int64_t d, int64_t heads) {
  const ggml_tensor* values = write->src[0];
  return has_memory(write) && write->ne[0] == d * heads && write->ne[2] == 1 && write->ne[3] == 1 &&
         ggml_is_contiguous(write) && offset_in_memory(write) == 0 && values->type == GGML_TYPE_F32;
}

/// Values written [Hkv * D, T] as heads: rows at any distance.
bool value_input(const ggml_tensor* t, int64_t d, int64_t heads, HeadsDesc::Input* in) {
  if (t->ne[0] != d * heads || stride(t, 0) != 1) return false;
  in->tensor = memory_of(t);
  in->offset = offset_in_memory(t);
  in->token_stride = stride(t, 1);
  return true;
}

bool prepare(ggml_tensor* node, const std::vector<ggml_tensor*>& nodes, const Readers& readers, Attention* a) {
  const int64_t d = a->desc.head_dim, kv_heads = a->desc.kv_heads;
  ggml_tensor* key_write = write_of(node->src[1]);
  ggml_tensor* value_write = write_of(node->src[2]);
  if (key_write == nullptr || value_write == nullptr || key_write == value_write) return false;
  if (!plain_write(key_write, d, kv_heads) || !plain_write(value_write, d, kv_heads)) return false;
  if (memory_of(key_write->src[1]) != memory_of(value_write->src[1]) || offset_in_memory(key_write->src[1]) != 0 ||
      offset_in_memory(value_write->src[1]) != 0) {
    return false;
  }
  HeadsDesc& desc = a->heads;
  desc = {};
  desc.kind = cuda::Kind::Heads;
  desc.head_dim = static_cast<int32_t>(d);
  desc.q_heads = a->desc.q_heads;
  desc.kv_heads = static_cast<int32_t>(kv_heads);
  desc.tokens = static_cast<int32_t>(key_write->src[0]->ne[1]);
  desc.rows = memory_of(key_write->src[1]);
  desc.k_cache = memory_of(key_write);
  desc.v_cache = memory_of(value_write);
  Rope of_keys, of_queries;
  // Keys are written as [Hkv * D, T], and computed as [D, Hkv, T].
  ggml_tensor* keys = behind_views(key_write->src[0]);
  const bool whole = dense_f32(key_write->src[0]) && offset_in_memory(key_write->src[0]) == 0;
  if (whole && (keys->op == GGML_OP_ROPE || normalised(keys, d).x != nullptr)) {
    if (readers.only(keys) != key_write || !unwind(keys, d, &desc.k, &of_keys)) return false;
  } else if (!value_input(key_write->src[0], d, kv_heads, &desc.k)) {
    return false;
  }
  if (!value_input(value_write->src[0], d, kv_heads, &desc.v)) return false;
  // Queries, if attention alone reads them.
  ggml_tensor* queries = behind_views(node->src[0]);
  if ((queries->op == GGML_OP_ROPE || normalised(queries, d).x != nullptr) && readers.only(queries) == node &&
      dense_f32(queries) && unwind(queries, d, &desc.q, &of_queries)) {
    if (desc.q.rotate && desc.k.rotate && !of_queries.same_rotation(of_keys)) return false;
    a->rotated = queries;
    desc.q_out = queries;
    desc.q_tokens = a->desc.tokens;
  }
  const Rope& rope = desc.k.rotate ? of_keys : of_queries;
  if (desc.k.rotate && of_keys.positions_offset != 0) return false;
  desc.positions = of_keys.positions;
  desc.q_positions = of_queries.positions;
  desc.q_positions_offset = of_queries.positions_offset;
  desc.factors = rope.factors;
  desc.n_dims = rope.n_dims;
  desc.neox = rope.neox;
  desc.freq_base = rope.base;
  desc.freq_scale = rope.scale;
  desc.attn_factor = rope.attn;
  // The writes move to just before attention: nobody between may read the caches.
  const int from = std::min(readers.position(key_write), readers.position(value_write)), to = readers.position(node);
  for (int i = from; i < to; ++i) {
    const ggml_tensor* between = nodes[static_cast<size_t>(i)];
    if (is_view(between) || between == key_write || between == value_write) continue;
    for (const ggml_tensor* source : between->src) {
      if (source != nullptr && (memory_of(source) == desc.k_cache || memory_of(source) == desc.v_cache)) return false;
    }
  }
  a->key_write = key_write;
  a->value_write = value_write;
  return true;
}

bool attention(ggml_tensor* node, Attention* a) {
  if (node->op != GGML_OP_FLASH_ATTN_EXT || node->src[4] != nullptr) return false;
  const device_rules::AttentionParams params = device_rules::attention_params(node);
  if (params.max_bias != 0.0f) return false;
  ggml_tensor *q = node->src[0], *k = node->src[1], *v = node->src[2], *mask = node->src[3];
  const int64_t d = q->ne[0], tokens = q->ne[1], heads = q->ne[2];
  if (tokens > cuda::kMaxColumns || q->ne[3] != 1 || k->ne[3] != 1 || v->ne[0] != d || q->type != GGML_TYPE_F32)
    return false;
  // [D, T, H] read from [D, H, T].
  if (stride(q, 0) != 1 || stride(q, 2) != d || (tokens > 1 && stride(q, 1) != d * heads) || offset_in_memory(q) != 0)
    return false;
  if (!has_memory(k) || !has_memory(v) || k->ne[2] != v->ne[2]) return false;
  if (mask != nullptr && (mask->ne[2] != 1 || mask->ne[3] != 1 || mask->ne[1] != tokens || offset_in_memory(mask) != 0))
    return false;
  a->node = node;
  AttentionDesc& desc = a->desc;
  desc = {};
  desc.kind = cuda::Kind::Attention;
  desc.q = memory_of(q);
  desc.k_cache = memory_of(k);
  desc.v_cache = memory_of(v);
  desc.k_offset = offset_in_memory(k);
  desc.v_offset = offset_in_memory(v);
  desc.k_row_stride = stride(k, 1);
  desc.v_row_stride = stride(v, 1);
  // One head alone has no next one, and its stride may be any number.
  desc.k_head_stride = k->ne[2] == 1 ? d : stride(k, 2);
  desc.v_head_stride = v->ne[2] == 1 ? d : stride(v, 2);
  desc.mask = mask == nullptr ? nullptr : memory_of(mask);
  desc.out = node;
  desc.n_kv = k->ne[1];
  desc.head_dim = static_cast<int32_t>(d);
  desc.q_heads = static_cast<int32_t>(heads);
  desc.kv_heads = static_cast<int32_t>(k->ne[2]);
  desc.tokens = static_cast<int32_t>(tokens);
  desc.scale = params.scale;
  desc.softcap = params.softcap;
  return true;
}

}  // namespace

std::vector<Attention> find_attention(const std::vector<ggml_tensor*>& nodes, const Readers& readers,
                                      const KernelSupport& support) {
  std::vector<Attention> found;
  for (ggml_tensor* node : nodes) {
    Attention a;
    if (!attention(node, &a)) continue;
    a.ours = support.supports(a.desc);
    a.prepared = prepare(node, nodes, readers, &a) && support.supports(a.heads);
    if (a.prepared && a.rotated != nullptr) {
      a.both = {};
      a.both.kind = cuda::Kind::HeadsAttention;
      a.both.heads = a.heads;
      a.both.attention = a.desc;
      a.together = support.supports(a.both);
    }
    if (!a.prepared) a.rotated = a.key_write = a.value_write = nullptr;
    if (a.ours || a.prepared) found.push_back(a);
  }
  return found;
}

}  // namespace etggml::fusion
