#include "fusion/experts.h"

#include <algorithm>

#include "device_rules/node_params.h"
#include "fusion/gates.h"
#include "fusion/norms.h"

namespace etggml::fusion {
namespace {

using cuda::MatVecDesc;

/// A product with the experts of one column: weights [K, N, experts], ids [used].
bool is_expert_product(const ggml_tensor* node) {
  if (node->op != GGML_OP_MUL_MAT_ID) return false;
  const ggml_tensor *w = node->src[0], *ids = node->src[2];
  return w->data != nullptr && is_leaf(w) && w->view_src == nullptr && ggml_is_contiguous(w) && w->ne[3] == 1 &&
         ids->type == GGML_TYPE_I32 && ids->ne[1] == 1 && offset_in_memory(ids) == 0 && ggml_is_contiguous(ids) &&
         dense_f32(node->src[1]) && offset_in_memory(node->src[1]) == 0 && dense_f32(node);
}

void take_experts(const ggml_tensor* node, MatVecDesc* desc) {
  desc->kind = cuda::Kind::MatVec;
  desc->columns = 1;
  desc->ids = memory_of(node->src[2]);
  desc->used = static_cast<int32_t>(node->src[2]->ne[0]);
}

/// Gate and up of the experts that read one column, and the gated unit behind them.
bool gated(ggml_tensor* node, const Readers& readers, Product* product) {
  const Unit unit = gated_unit(node);
  if (unit.kind == MatVecDesc::None || unit.up == nullptr || !dense_f32(node) || !closed(unit, readers)) return false;
  const ggml_tensor *gate = unit.gate, *up = unit.up;
  if (gate == up || !is_expert_product(gate) || !is_expert_product(up)) return false;
  const ggml_tensor *w = gate->src[0], *x = gate->src[1];
  if (x != up->src[1] || gate->src[2] != up->src[2] || w->type != up->src[0]->type ||
      !ggml_are_same_shape(w, up->src[0]) || ggml_nelements(x) != w->ne[0])
    return false;
  MatVecDesc& desc = product->desc;
  desc = {};
  take_experts(gate, &desc);
  desc.x = memory_of(x);
  const Normalised norm = normalised(behind_views(const_cast<ggml_tensor*>(x)), w->ne[0]);
  if (norm.x != nullptr && dense_f32(norm.x) && ggml_nelements(norm.x) == w->ne[0] &&
      memory_of(x) == behind_views(const_cast<ggml_tensor*>(x))) {
    desc.x = memory_of(norm.x);
    desc.x_offset = offset_in_memory(norm.x);
    desc.gain = norm.gain;
    desc.norm = true;
    desc.eps = norm.eps;
  }
  const int64_t rows = w->ne[1] * desc.used;
  desc.segments = 2;
  desc.glu = unit.kind;
  desc.segment[0] = {w, nullptr, nullptr, node, rows, 0};
  desc.segment[1] = {up->src[0], nullptr, nullptr, nullptr, rows, 0};
  product->outs = {node};
  product->products = {gate, up};
  return true;
}

/// The slice [N] of place `place` of results [N, used, 1]?
bool is_slice(const ggml_tensor* t, const ggml_tensor* results, int64_t place) {
  return memory_of(t) == results && dense_f32(t) && t->ne[0] == results->ne[0] && ggml_nelements(t) == results->ne[0] &&
         offset_in_memory(t) == place * results->ne[0];
}

/// The sum over the experts' results, as additions of slices in order; nullptr when it is none.
ggml_tensor* sum_of_slices(ggml_tensor* results, const Readers& readers) {
  const std::vector<ggml_tensor*>& all = readers.of(results);
  const int64_t used = results->ne[1];
  if (used < 2 || readers.outside(results) || all.empty()) return nullptr;
  ggml_tensor* sum = nullptr;
  int64_t reads = 0;
  for (int64_t place = 1; place < used; ++place) {
    ggml_tensor* next = nullptr;
    for (ggml_tensor* reader : all) {
      if (reader->op != GGML_OP_ADD || !is_slice(reader->src[1], results, place)) continue;
      const ggml_tensor* before = reader->src[0];
      if (sum == nullptr ? is_slice(before, results, 0) : before == sum) next = reader;
    }
    if (next == nullptr || (sum != nullptr && readers.only(sum) != next)) return nullptr;
    reads += sum == nullptr ? 2 : 1;
    sum = next;
  }
  return reads == static_cast<int64_t>(all.size()) ? sum : nullptr;
}

/// Experts that each read their own column, the weights of their results, and the sum of these.
bool added_up(ggml_tensor* node, const Readers& readers, Product* product) {
  if (!is_expert_product(node)) return false;
  const ggml_tensor *w = node->src[0], *x = node->src[1];
  const int64_t used = node->src[2]->ne[0];
  if (x->ne[0] != w->ne[0] || x->ne[1] != used || ggml_nelements(x) != w->ne[0] * used) return false;
  MatVecDesc& desc = product->desc;
  desc = {};
  take_experts(node, &desc);
  ggml_tensor* results = node;
  ggml_tensor* weighted = readers.only(node);
  if (weighted != nullptr && weighted->op == GGML_OP_MUL && weighted->src[0] == node) {
    const ggml_tensor* scales = weighted->src[1];
    if (!dense_f32(scales) || scales->ne[0] != 1 || scales->ne[1] != used || ggml_nelements(scales) != used ||
        offset_in_memory(scales) != 0 || !dense_f32(weighted))
      return false;
    desc.expert_scales = memory_of(scales);
    results = weighted;
  }
  ggml_tensor* out = sum_of_slices(results, readers);
  if (out == nullptr || !dense_f32(out)) return false;
  desc.segments = 1;
  desc.x = memory_of(x);
  desc.segment[0] = {w, nullptr, nullptr, out, w->ne[1], 0};
  product->outs = {out};
  product->products = {node};
  follow(readers, product);
  return true;
}

/// Behind clamps and copies that change no weight of a softmax.
ggml_tensor* behind_guards(ggml_tensor* t) {
  for (;;) {
    if (is_view(t) || t->op == GGML_OP_CONT) {
      t = t->src[0];
    } else if (t->op == GGML_OP_CLAMP && device_rules::clamp_params(t).min <= 0.0f &&
               device_rules::clamp_params(t).max >= 1.0f) {
      t = t->src[0];
    } else {
      return t;
    }
  }
}

bool read_only_by(const ggml_tensor* t, const Readers& readers, std::initializer_list<const ggml_tensor*> inside) {
  const std::vector<ggml_tensor*>& all = readers.of(t);
  return !readers.outside(t) && std::all_of(all.begin(), all.end(), [&](const ggml_tensor* reader) {
    return std::find(inside.begin(), inside.end(), reader) != inside.end();
  });
}

/// From the division that scales the weights back to the logits.
bool route(ggml_tensor* node, const Readers& readers, Route* found) {
  if (node->op != GGML_OP_DIV || !dense_f32(node)) return false;
  // The sum of the weights, bounded below.
  ggml_tensor* chosen = behind_views(node->src[0]);
  ggml_tensor* sum = behind_views(node->src[1]);
  float least = 0.0f;
  if (sum->op == GGML_OP_CLAMP) {
    least = device_rules::clamp_params(sum).min;
    if (device_rules::clamp_params(sum).max < 1.0f || least < 0.0f) return false;
    sum = behind_views(sum->src[0]);
  }
  if (sum->op != GGML_OP_SUM_ROWS || behind_views(sum->src[0]) != chosen || chosen->op != GGML_OP_GET_ROWS)
    return false;
  ggml_tensor* scores = behind_guards(chosen->src[0]);
  ggml_tensor* order = behind_guards(chosen->src[1]);
  if (scores->op != GGML_OP_SOFT_MAX || scores->src[1] != nullptr || scores->src[2] != nullptr ||
      device_rules::softmax_params(scores).scale != 1.0f || device_rules::softmax_params(scores).max_bias != 0.0f)
    return false;
  if (order->op != GGML_OP_ARGSORT || device_rules::sort_order(order) != GGML_SORT_ORDER_DESC ||
      behind_guards(order->src[0]) != scores)
    return false;
  const int64_t experts = scores->ne[0], used = ggml_nelements(node);
  if (ggml_nelements(scores) != experts || !dense_f32(scores->src[0]) || offset_in_memory(scores->src[0]) != 0 ||
      offset_in_memory(chosen->src[1]) != 0 || chosen->src[0]->ne[0] != 1 || sum->src[0]->ne[0] != used)
    return false;
  // One tensor of ids, that the weights' GET_ROWS reads as all others do. They come after the weights.
  ggml_tensor* ids = memory_of(chosen->src[1]);
  for (const ggml_tensor* reader : readers.of(ids)) {
    if (reader != chosen && readers.position(reader) < readers.position(node)) return false;
  }
  if (ids != order && !read_only_by(order, readers, {ids})) return false;
  const ggml_tensor* bounded = behind_views(node->src[1]);
  if (!read_only_by(chosen, readers, {sum, node}) || !read_only_by(sum, readers, {bounded, node}) ||
      !read_only_by(bounded, readers, {bounded, node}))
    return false;
  if (readers.outside(ids)) return false;
  found->desc = {};
  found->desc.kind = cuda::Kind::Route;
  found->desc.x = memory_of(scores->src[0]);
  found->desc.ids = ids;
  found->desc.weights = node;
  found->desc.experts = static_cast<int32_t>(experts);
  found->desc.used = static_cast<int32_t>(used);
  found->desc.least_sum = least;
  found->weights = node;
  found->ids = ids;
  return true;
}

}  // namespace

std::vector<Product> find_expert_products(const std::vector<ggml_tensor*>& nodes, const Readers& readers,
                                          const KernelSupport& support) {
  std::vector<Product> found;
  for (ggml_tensor* node : nodes) {
    Product product;
    if ((gated(node, readers, &product) || added_up(node, readers, &product)) && support.supports(product.desc))
      found.push_back(product);
  }
  return found;
}

std::vector<Route> find_routes(const std::vector<ggml_tensor*>& nodes, const Readers& readers,
                               const KernelSupport& support) {
  std::vector<Route> found;
  for (ggml_tensor* node : nodes) {
    Route one;
    if (route(node, readers, &one) && support.supports(one.desc)) found.push_back(one);
  }
  return found;
}

}  // namespace etggml::fusion
