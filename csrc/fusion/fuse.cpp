#include "fusion/fuse.h"

#include <algorithm>
#include <cstring>
#include <unordered_set>

#include "device_rules/ggml_internals.h"
#include "fusion/experts.h"
#include "fusion/heads.h"
#include "fusion/products.h"
#include "fusion/readers.h"
#include "kernels/custom_op.h"

namespace etggml::fusion {
namespace {

static_assert(cuda::kDescOffset == kernels::kCustomOpParams, "the kernels' module reads descriptors there");

/// A value that a kernel writes besides its node's own: no node computes it any more.
void becomes_leaf(ggml_tensor* t, Fusion* fusion) {
  t->op = GGML_OP_NONE;
  std::fill(std::begin(t->src), std::end(t->src), nullptr);
  if (t->view_src == nullptr) fusion->extra.push_back(t);
}

class Rewriter {
 public:
  Rewriter(ggml_context* ctx, const KernelSupport& support, DescStore& store, Fusion* fusion)
      : ctx_(ctx), support_(support), store_(store), fusion_(fusion) {}

  void product(const Product& p) {
    cuda::MatVecDesc* desc = store_.keep(p.desc);
    std::vector<const ggml_tensor*> sources = {desc->x, desc->addend, desc->ids, desc->expert_scales};
    for (int i = 0; i < desc->segments; ++i) sources.push_back(desc->segment[i].residual);
    const char* name = desc->ids != nullptr ? (desc->glu != cuda::MatVecDesc::None ? "GATED_EXPERTS" : "EXPERTS")
                       : desc->glu != cuda::MatVecDesc::None ? "GATED_MAT_VEC"
                       : desc->segments > 1                  ? "JOINED_MAT_VEC"
                                                             : "MAT_VEC";
    for (size_t i = 1; i < p.outs.size(); ++i) {
      becomes_leaf(p.outs[i], fusion_);
      gone_.insert(p.outs[i]);
    }
    if (p.sum != nullptr) {
      becomes_leaf(p.sum, fusion_);
      gone_.insert(p.sum);
    }
    make_kernel_node(p.outs[0], support_, name, desc, sources);
    ++fusion_->groups;
  }

  void route(const Route& r) {
    const cuda::RouteDesc* desc = store_.keep(r.desc);
    becomes_leaf(r.ids, fusion_);
    gone_.insert(r.ids);
    make_kernel_node(r.weights, support_, "ROUTE", desc, {desc->x});
    ++fusion_->groups;
  }

  void attention(const Attention& a) {
    if (a.together) {
      const cuda::HeadsAttentionDesc* desc = store_.keep(a.both);
      const cuda::HeadsDesc& heads = desc->heads;
      for (ggml_tensor* written : {a.rotated, a.key_write, a.value_write}) {
        becomes_leaf(written, fusion_);
        gone_.insert(written);
      }
      make_kernel_node(a.node, support_, "HEADS_ATTENTION", desc,
                       {heads.q.tensor, heads.k.tensor, heads.v.tensor, heads.rows, heads.positions, heads.q_positions,
                        desc->attention.mask});
      ++fusion_->groups;
      return;
    }
    if (a.prepared) {
      cuda::HeadsDesc* heads = store_.keep(a.heads);
      if (a.rotated != nullptr) {
        becomes_leaf(a.rotated, fusion_);
        gone_.insert(a.rotated);
      }
      becomes_leaf(a.value_write, fusion_);
      gone_.insert(a.value_write);
      make_kernel_node(
          a.key_write, support_, "HEADS", heads,
          {heads->q.tensor, heads->k.tensor, heads->v.tensor, heads->rows, heads->positions, heads->q_positions});
      moved_[a.node] = a.key_write;
      gone_.insert(a.key_write);  // from its old place
      ++fusion_->groups;
    }
    if (!a.ours) return;
    cuda::AttentionDesc* desc = store_.keep(a.desc);
    desc->scratch = scratch_;
    make_kernel_node(a.node, support_, "DECODE_ATTENTION", desc, {desc->q, desc->mask});
    ++fusion_->groups;
  }

  /// One scratch for all: they run one after the other.
  void make_scratch(const std::vector<Attention>& all) {
    int64_t elements = 0;
    for (const Attention& a : all)
      if (a.ours && !a.together)
        elements = std::max(elements, cuda::scratch_elements(a.desc.head_dim, a.desc.q_heads, a.desc.tokens));
    if (elements == 0) return;
    scratch_ = ggml_new_tensor_1d(ctx_, GGML_TYPE_F32, elements);
    ggml_set_name(scratch_, "attention_scratch");
    fusion_->extra.push_back(scratch_);
  }

  /// Nodes in their new order, without those that nothing needs any more.
  std::vector<ggml_tensor*> order(const std::vector<ggml_tensor*>& nodes, const graph::Built& built) const {
    std::vector<ggml_tensor*> ordered;
    for (ggml_tensor* node : nodes) {
      const auto before = moved_.find(node);
      if (before != moved_.end()) ordered.push_back(before->second);
      if (gone_.count(node) == 0) ordered.push_back(node);
    }
    std::unordered_set<const ggml_tensor*> needed(built.outputs.begin(), built.outputs.end());
    for (const auto& entry : moved_) needed.insert(entry.second);
    std::vector<ggml_tensor*> kept;
    for (auto it = ordered.rbegin(); it != ordered.rend(); ++it) {
      ggml_tensor* node = *it;
      // A write into the caller's memory is always needed.
      const bool writes = node->op == GGML_OP_SET_ROWS || node->op == GGML_OP_CPY;
      if (!writes && needed.count(node) == 0) continue;
      for (const ggml_tensor* source : node->src) {
        if (source == nullptr) continue;
        needed.insert(source);
        needed.insert(memory_of(source));
      }
      kept.push_back(node);
    }
    std::reverse(kept.begin(), kept.end());
    return kept;
  }

 private:
  ggml_context* ctx_;
  const KernelSupport& support_;
  DescStore& store_;
  Fusion* fusion_;
  ggml_tensor* scratch_ = nullptr;
  std::unordered_set<const ggml_tensor*> gone_;
  std::unordered_map<const ggml_tensor*, ggml_tensor*> moved_;  // attention -> the node that goes before it
};

/// Rows of a product that surely has a block for every multiprocessor of a device.
constexpr int64_t kManyRows = 512;

/// Whether a kernel may leave multiprocessors idle: only products have a block for each.
bool may_leave_idle(const cuda::KernelDesc* desc) {
  if (desc->kind != cuda::Kind::MatVec) return true;
  const auto* product = static_cast<const cuda::MatVecDesc*>(desc);
  int64_t rows = 0;
  for (int i = 0; i < (product->glu != cuda::MatVecDesc::None ? 1 : product->segments); ++i)
    rows += product->segment[i].rows;
  return rows < kManyRows;
}

/// Tells every kernel whether the next node is one of ours too, and products whether the previous one fills the device.
void mark_neighbours(const std::vector<ggml_tensor*>& nodes) {
  cuda::KernelDesc* last = nullptr;
  for (ggml_tensor* node : nodes) {
    if (is_view(node) || is_leaf(node)) continue;
    cuda::KernelDesc* desc = node->op == GGML_OP_CUSTOM ? const_cast<cuda::KernelDesc*>(descriptor_of(node)) : nullptr;
    if (last != nullptr) last->overlaps_next = desc != nullptr;
    if (desc != nullptr && desc->kind == cuda::Kind::MatVec)
      static_cast<cuda::MatVecDesc*>(desc)->spreads = last != nullptr && may_leave_idle(last);
    last = desc;
  }
}

std::vector<ggml_tensor*> nodes_of(ggml_cgraph* graph) { return {graph->nodes, graph->nodes + graph->n_nodes}; }

}  // namespace

void make_kernel_node(ggml_tensor* node, const KernelSupport& support, const char* name, const cuda::KernelDesc* desc,
                      const std::vector<const ggml_tensor*>& sources) {
  node->op = GGML_OP_CUSTOM;
  std::memset(node->op_params, 0, sizeof(node->op_params));
  const ggml_custom_op_params host = {support.on_host(), 1, nullptr};
  ggml_set_op_params(node, &host, sizeof(host));
  kernels::set_custom_op(node, name, desc);
  std::fill(std::begin(node->src), std::end(node->src), nullptr);
  size_t count = 0;
  for (const ggml_tensor* source : sources) {
    if (source == nullptr || has_memory(source)) continue;
    if (std::find(node->src, node->src + count, source) != node->src + count) continue;
    GGML_ASSERT(count < GGML_MAX_SRC);
    node->src[count++] = const_cast<ggml_tensor*>(source);
  }
}

const cuda::KernelDesc* descriptor_of(const ggml_tensor* node) {
  return kernels::custom_op_params<const cuda::KernelDesc*>(node);
}

size_t separate_bytes(const graph::Built& built) {
  size_t bytes = 0;
  for (int i = 0; i < ggml_graph_n_nodes(built.graph); ++i) {
    const ggml_tensor* node = ggml_graph_node(built.graph, i);
    if (node->view_src == nullptr && node->data == nullptr) bytes += ggml_nbytes(node);
  }
  return bytes;
}

Fusion fuse(ggml_context* ctx, graph::Built& built, const KernelSupport& support, DescStore& store) {
  Fusion fusion;
  const std::vector<ggml_tensor*> nodes = nodes_of(built.graph);
  const Readers readers(nodes, built.outputs);
  // Both before anything is rewritten: they read the graph as it was built.
  const std::vector<Product> products = find_products(nodes, readers, support);
  const std::vector<Attention> attention = find_attention(nodes, readers, support);
  const std::vector<Route> routes = find_routes(nodes, readers, support);
  if (products.empty() && attention.empty() && routes.empty()) return fusion;
  Rewriter rewriter(ctx, support, store, &fusion);
  rewriter.make_scratch(attention);
  for (const Product& p : products) rewriter.product(p);
  for (const Route& r : routes) rewriter.route(r);
  for (const Attention& a : attention) rewriter.attention(a);

  const std::vector<ggml_tensor*> kept = rewriter.order(nodes, built);
  std::copy(kept.begin(), kept.end(), built.graph->nodes);
  built.graph->n_nodes = static_cast<int>(kept.size());
  mark_neighbours(kept);
  std::unordered_set<const ggml_tensor*> alive(kept.begin(), kept.end());
  for (const ggml_tensor* t : fusion.extra) alive.insert(t);
  for (const graph::HostInput& input : built.host_inputs) alive.insert(input.tensor);
  for (ggml_tensor*& value : built.values) {
    if (value != nullptr && !has_memory(value) && alive.count(value) == 0) value = nullptr;
  }
  return fusion;
}

}  // namespace etggml::fusion
