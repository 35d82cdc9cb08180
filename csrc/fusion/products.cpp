#include "fusion/products.h"

#include <algorithm>
#include <unordered_map>

#include "fusion/norms.h"

namespace etggml::graph {
namespace {

using cuda::MatVecCall;

bool is_matrix(const ggml_tensor* w) {
  return w->data != nullptr && is_leaf(w) && w->view_src == nullptr && ggml_is_contiguous(w) && w->ne[2] == 1 &&
         w->ne[3] == 1;
}

/// F32 [size], the same for every column.
bool is_bias(const ggml_tensor* t, int64_t size) {
  return has_memory(t) && is_leaf(memory_of(t)) && offset_in_memory(t) == 0 && dense_f32(t) && t->ne[0] == size &&
         ggml_nelements(t) == size;
}

/// The product alone: columns, and the norm before them.
bool begin(ggml_tensor* node, Product* product) {
  if (node->op != GGML_OP_MUL_MAT) return false;
  const ggml_tensor* w = node->src[0];
  ggml_tensor* x = node->src[1];
  const int64_t k = w->ne[0], columns = ggml_nelements(x) / k;
  if (!is_matrix(w) || !dense_f32(x) || columns < 1 || columns > cuda::kMaxColumns) return false;
  if (offset_in_memory(x) % k != 0) return false;
  MatVecCall& call = product->call;
  call = {};
  call.kind = cuda::Kind::MatVec;
  call.segments = 1;
  call.columns = static_cast<int32_t>(columns);
  call.segment[0] = {w, nullptr, nullptr, node, w->ne[1]};
  call.x = memory_of(x);
  call.x_offset = offset_in_memory(x);
  const Normalised norm = normalised(behind_views(x), k);
  // A norm that reads the memory of its rows as they lie: the columns are then rows of what it reads.
  if (norm.x != nullptr && dense_f32(norm.x) && memory_of(x) == behind_views(x)) {
    call.x = memory_of(norm.x);
    call.x_offset += offset_in_memory(norm.x);
    call.gain = norm.gain;
    call.norm = true;
    call.eps = norm.eps;
  }
  product->outs = {node};
  return true;
}

/// Additions behind it: a bias, then a residual.
void follow(const Readers& readers, Product* product) {
  MatVecCall::Segment& segment = product->call.segment[0];
  for (;;) {
    ggml_tensor* y = product->outs[0];
    ggml_tensor* next = readers.only(y);
    if (next == nullptr || next->op != GGML_OP_ADD || segment.residual != nullptr || !dense_f32(next)) return;
    const bool left = behind_views(next->src[0]) == y;
    ggml_tensor* ours = next->src[left ? 0 : 1];
    ggml_tensor* other = next->src[left ? 1 : 0];
    if (!dense_f32(ours) || offset_in_memory(ours) != 0 || ggml_nelements(ours) != ggml_nelements(y)) return;
    if (!ggml_are_same_shape(ours, next)) return;
    if (left && segment.bias == nullptr && is_bias(other, segment.rows) && next->ne[0] == segment.rows) {
      segment.bias = memory_of(other);
    } else if (ggml_are_same_shape(other, next) && dense_f32(other) && offset_in_memory(other) == 0 &&
               behind_views(other) != y) {
      segment.residual = memory_of(other);
    } else {
      return;
    }
    segment.out = next;
    product->outs[0] = next;
  }
}

bool same_columns(const MatVecCall& a, const MatVecCall& b) {
  return a.x == b.x && a.x_offset == b.x_offset && a.columns == b.columns && a.norm == b.norm && a.gain == b.gain &&
         a.eps == b.eps && a.segment[0].weight->type == b.segment[0].weight->type &&
         a.segment[0].weight->ne[0] == b.segment[0].weight->ne[0];
}

MatVecCall::Glu glu_kind(const ggml_tensor* node) {
  switch (ggml_get_glu_op(node)) {
    case GGML_GLU_OP_SWIGLU:
      return MatVecCall::Swiglu;
    case GGML_GLU_OP_GEGLU:
      return MatVecCall::Geglu;
    default:
      return MatVecCall::None;
  }
}

using ByOut = std::unordered_map<const ggml_tensor*, size_t>;

/// The product whose whole result is this source of `reader`, which is its only reader; -1 otherwise.
int whole_result(const std::vector<Product>& products, const ByOut& by_out, const Readers& readers, ggml_tensor* source,
                 const ggml_tensor* reader) {
  const ggml_tensor* out = behind_views(source);
  const auto it = by_out.find(out);
  if (it == by_out.end() || readers.only(out) != reader) return -1;
  const Product& product = products[it->second];
  const bool whole = dense_f32(source) && ggml_nelements(source) == ggml_nelements(out);
  return whole && product.call.segments == 1 && product.call.glu == MatVecCall::None &&
                 product.call.segment[0].residual == nullptr
             ? static_cast<int>(it->second)
             : -1;
}

/// Gate and up with the gated unit behind them.
void take_gates(const std::vector<ggml_tensor*>& nodes, const Readers& readers, const CallSupport& support,
                std::vector<Product>* products, std::vector<bool>* taken) {
  ByOut by_out;
  for (size_t i = 0; i < products->size(); ++i) by_out.emplace((*products)[i].outs[0], i);
  for (ggml_tensor* node : nodes) {
    if (node->op != GGML_OP_GLU || glu_kind(node) == MatVecCall::None || op_param_i32(node, 1) != 0) continue;
    if (!dense_f32(node)) continue;
    const int gate = whole_result(*products, by_out, readers, node->src[0], node);
    if (gate < 0) continue;
    Product fused = (*products)[static_cast<size_t>(gate)];
    MatVecCall& call = fused.call;
    int up = gate;
    if (node->src[1] == nullptr) {
      if (call.segment[0].rows % 2 != 0 || call.segment[0].bias != nullptr ||
          node->src[0]->ne[0] != call.segment[0].rows)
        continue;
      call.second_row = call.segment[0].rows / 2;
      call.segment[0].rows = call.second_row;
      call.segment[1] = call.segment[0];
    } else {
      up = whole_result(*products, by_out, readers, node->src[1], node);
      if (up < 0 || up == gate) continue;
      const MatVecCall& other = (*products)[static_cast<size_t>(up)].call;
      if (!same_columns(call, other) || other.segment[0].rows != call.segment[0].rows) continue;
      call.segment[1] = other.segment[0];
    }
    call.segments = 2;
    call.glu = glu_kind(node);
    call.segment[0].out = node;
    call.segment[1].out = nullptr;
    if (!support.supports(call)) continue;
    fused.outs = {node};
    (*taken)[static_cast<size_t>(gate)] = true;
    (*taken)[static_cast<size_t>(up)] = true;
    products->push_back(fused);
    taken->push_back(false);
  }
}

/// Products of the same columns (queries, keys, values) side by side in one kernel.
void join(const CallSupport& support, std::vector<Product>* products, std::vector<bool>* taken) {
  for (size_t i = 0; i < products->size(); ++i) {
    Product& first = (*products)[i];
    auto plain = [](const MatVecCall& c) { return c.glu == MatVecCall::None && c.segment[0].residual == nullptr; };
    if ((*taken)[i] || !plain(first.call)) continue;
    for (size_t j = i + 1; j < products->size() && first.call.segments < MatVecCall::kMaxSegments; ++j) {
      const Product& next = (*products)[j];
      if ((*taken)[j] || !plain(next.call) || next.call.segments != 1 || !same_columns(first.call, next.call)) continue;
      Product joined = first;
      joined.call.segment[joined.call.segments++] = next.call.segment[0];
      joined.outs.push_back(next.outs[0]);
      if (!support.supports(joined.call)) continue;
      first = joined;
      (*taken)[j] = true;
    }
  }
}

}  // namespace

std::vector<Product> find_products(const std::vector<ggml_tensor*>& nodes, const Readers& readers,
                                   const CallSupport& support) {
  std::vector<Product> products;
  for (ggml_tensor* node : nodes) {
    Product product;
    if (!begin(node, &product)) continue;
    follow(readers, &product);
    if (support.supports(product.call)) products.push_back(product);
  }
  std::vector<bool> taken(products.size(), false);
  take_gates(nodes, readers, support, &products, &taken);
  join(support, &products, &taken);
  std::vector<Product> kept;
  for (size_t i = 0; i < products.size(); ++i) {
    if (!taken[i]) kept.push_back(products[i]);
  }
  return kept;
}

}  // namespace etggml::graph
