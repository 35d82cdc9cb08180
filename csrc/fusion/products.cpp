#include "fusion/products.h"

#include <utility>

#include "fusion/experts.h"
#include "fusion/gates.h"
#include "fusion/norms.h"
#include "fusion/post_norms.h"

namespace etggml::fusion {
namespace {

using cuda::MatVecDesc;

bool is_matrix(const ggml_tensor* w) {
  return w->data != nullptr && is_leaf(w) && w->view_src == nullptr && ggml_is_contiguous(w) && w->ne[2] == 1 &&
         w->ne[3] == 1;
}

/// The product alone: columns, and the norm before them.
bool begin(ggml_tensor* node, Product* product) {
  if (node->op != GGML_OP_MUL_MAT) return false;
  const ggml_tensor* w = node->src[0];
  ggml_tensor* x = node->src[1];
  const int64_t k = w->ne[0], columns = ggml_nelements(x) / k;
  if (!is_matrix(w) || !dense_f32(x) || columns < 1 || columns > cuda::kMaxColumns) return false;
  if (offset_in_memory(x) % k != 0) return false;
  MatVecDesc& desc = product->desc;
  desc = {};
  desc.kind = cuda::Kind::MatVec;
  desc.segments = 1;
  desc.columns = static_cast<int32_t>(columns);
  desc.segment[0] = {w, nullptr, nullptr, node, w->ne[1], 0};
  desc.x = memory_of(x);
  desc.x_offset = offset_in_memory(x);
  const Normalised norm = normalised(behind_views(x), k);
  // If the norm reads its rows in place, the columns are rows of its source.
  if (norm.x != nullptr && dense_f32(norm.x) && memory_of(x) == behind_views(x)) {
    desc.x = memory_of(norm.x);
    desc.x_offset += offset_in_memory(norm.x);
    desc.gain = norm.gain;
    desc.norm = true;
    desc.eps = norm.eps;
  }
  product->outs = {node};
  product->products = {node};
  return true;
}

/// Products of the same columns (queries, keys, values) side by side in one kernel.
void join(const KernelSupport& support, std::vector<Product>* products, std::vector<bool>* taken) {
  for (size_t i = 0; i < products->size(); ++i) {
    Product& first = (*products)[i];
    auto plain = [](const MatVecDesc& c) { return c.glu == MatVecDesc::None && c.segment[0].residual == nullptr; };
    if ((*taken)[i] || !plain(first.desc)) continue;
    for (size_t j = i + 1; j < products->size() && first.desc.segments < MatVecDesc::kMaxSegments; ++j) {
      const Product& next = (*products)[j];
      if ((*taken)[j] || !plain(next.desc) || next.desc.segments != 1 || !same_columns(first.desc, next.desc)) continue;
      Product joined = first;
      joined.desc.segment[joined.desc.segments++] = next.desc.segment[0];
      joined.outs.push_back(next.outs[0]);
      joined.products.push_back(next.products[0]);
      if (!support.supports(joined.desc)) continue;
      first = joined;
      (*taken)[j] = true;
    }
  }
}

}  // namespace

bool is_bias(const ggml_tensor* t, int64_t size) {
  return has_memory(t) && is_leaf(memory_of(t)) && offset_in_memory(t) == 0 && dense_f32(t) && t->ne[0] == size &&
         ggml_nelements(t) == size;
}

void follow(const Readers& readers, Product* product) {
  MatVecDesc::Segment& segment = product->desc.segment[0];
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

bool same_columns(const MatVecDesc& a, const MatVecDesc& b) {
  return a.x == b.x && a.x_offset == b.x_offset && a.columns == b.columns && a.norm == b.norm && a.gain == b.gain &&
         a.eps == b.eps && a.segment[0].weight->type == b.segment[0].weight->type &&
         a.segment[0].weight->ne[0] == b.segment[0].weight->ne[0];
}

std::vector<Product> find_products(const std::vector<ggml_tensor*>& nodes, const Readers& readers,
                                   const KernelSupport& support) {
  std::vector<Product> products;
  for (ggml_tensor* node : nodes) {
    Product product;
    if (!begin(node, &product)) continue;
    follow(readers, &product);
    if (support.supports(product.desc)) products.push_back(product);
  }
  std::vector<bool> taken(products.size(), false);
  take_gates(nodes, readers, support, &products, &taken);
  join(support, &products, &taken);
  std::vector<Product> kept;
  for (size_t i = 0; i < products.size(); ++i) {
    if (!taken[i]) kept.push_back(products[i]);
  }
  for (Product& p : find_expert_products(nodes, readers, support)) kept.push_back(std::move(p));
  take_post_norms(readers, support, &kept);
  return kept;
}

}  // namespace etggml::fusion
