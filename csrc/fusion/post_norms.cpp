#include "fusion/post_norms.h"

#include <algorithm>
#include <unordered_map>

#include "fusion/norms.h"

namespace etggml::fusion {
namespace {

using cuda::MatVecDesc;

/// The position at which each product's kernel runs, by MUL_MAT node.
using RunsAt = std::unordered_map<const ggml_tensor*, int>;

/// Takes `sum` as addend + norm(x) into `desc`; false when it is no such sum.
bool read_sum(const ggml_tensor* sum, const Readers& readers, MatVecDesc* desc) {
  const int64_t k = desc->segment[0].weight->ne[0];
  if (sum->op != GGML_OP_ADD || !dense_f32(sum) || ggml_nelements(sum) != k * desc->columns) return false;
  for (const int side : {1, 0}) {
    ggml_tensor *normal = sum->src[side], *addend = sum->src[1 - side];
    const Normalised post = normalised(behind_views(normal), k);
    if (post.x == nullptr || readers.only(behind_views(normal)) != sum || memory_of(normal) != behind_views(normal))
      continue;
    if (!dense_f32(normal) || offset_in_memory(normal) != 0 || !dense_f32(post.x) || !dense_f32(addend)) continue;
    if (!ggml_are_same_shape(normal, sum) || !ggml_are_same_shape(addend, sum) ||
        ggml_nelements(post.x) != ggml_nelements(sum))
      continue;
    desc->post_norm = true;
    desc->post_eps = post.eps;
    desc->post_gain = post.gain;
    desc->x = memory_of(post.x);
    desc->x_offset = offset_in_memory(post.x);
    desc->addend = memory_of(addend);
    desc->addend_offset = offset_in_memory(addend);
    desc->sum = sum;
    return true;
  }
  return false;
}

/// The earliest position at which `node`, a reader of the sum, reads it. A norm before products is theirs, if all of
/// its readers are kernels of ours that normalise themselves.
int reads_at(const ggml_tensor* node, const Readers& readers, const RunsAt& runs_at) {
  const int own = readers.position(node);
  const auto product = runs_at.find(node);
  if (product != runs_at.end()) return product->second;
  if (node->op != GGML_OP_RMS_NORM) return own;
  int earliest = -1;
  auto note = [&](const ggml_tensor* reader) {
    const auto it = runs_at.find(reader);
    if (it == runs_at.end()) return false;
    earliest = earliest < 0 ? it->second : std::min(earliest, it->second);
    return true;
  };
  if (readers.outside(node)) return own;
  for (const ggml_tensor* reader : readers.of(node)) {
    if (note(reader)) continue;
    if (reader->op != GGML_OP_MUL || readers.outside(reader)) return own;
    for (const ggml_tensor* of_gain : readers.of(reader))
      if (!note(of_gain)) return own;
  }
  return earliest < 0 ? own : earliest;
}

}  // namespace

void take_post_norms(const Readers& readers, const KernelSupport& support, std::vector<Product>* products) {
  std::vector<Product*> in_order;
  for (Product& p : *products) in_order.push_back(&p);
  std::sort(in_order.begin(), in_order.end(), [&](const Product* a, const Product* b) {
    return readers.position(a->outs[0]) < readers.position(b->outs[0]);
  });
  for (Product* p : in_order) {
    const ggml_tensor* sum = p->desc.x;
    const int here = readers.position(p->outs[0]);
    Product fused = *p;
    if (p->desc.x_offset != 0 || readers.outside(sum) || !read_sum(sum, readers, &fused.desc)) continue;
    if (!support.supports(fused.desc)) continue;
    // Products that read the sum through the same norm, or as it is. Those of other sums are no readers of this one.
    RunsAt runs_at;
    for (const Product* other : in_order) {
      if (other->desc.x != sum) continue;
      for (const ggml_tensor* node : other->products) runs_at.emplace(node, readers.position(other->outs[0]));
    }
    bool first = true;
    for (const ggml_tensor* reader : readers.of(sum)) {
      const int at = reads_at(reader, readers, runs_at);
      // A residual of this very product is read while other blocks still write the sum.
      const bool columns = reader->op == GGML_OP_MUL_MAT || reader->op == GGML_OP_RMS_NORM;
      first = first && (at > here || (at == here && columns));
    }
    if (!first) continue;
    fused.sum = const_cast<ggml_tensor*>(sum);
    *p = fused;
  }
}

}  // namespace etggml::fusion
