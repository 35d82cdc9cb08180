#include "fusion/fuse.h"

#include <algorithm>
#include <cstring>
#include <unordered_set>

#include "device_rules/ggml_internals.h"
#include "fusion/heads.h"
#include "fusion/products.h"
#include "fusion/readers.h"
#include "kernels/custom_op.h"

namespace etggml::graph {
namespace {

static_assert(cuda::kCallOffset == kCustomOpParams, "the kernels' module reads calls there");

/// A value that a kernel writes besides its node's own: no node computes it any more.
void becomes_leaf(ggml_tensor* t, Fusion* fusion) {
  t->op = GGML_OP_NONE;
  std::fill(std::begin(t->src), std::end(t->src), nullptr);
  if (t->view_src == nullptr) fusion->extra.push_back(t);
}

class Rewriter {
 public:
  Rewriter(ggml_context* ctx, const CallSupport& support, CallStore& store, Fusion* fusion)
      : ctx_(ctx), support_(support), store_(store), fusion_(fusion) {}

  void product(const Product& p) {
    cuda::MatVecCall* call = store_.keep(p.call);
    std::vector<const ggml_tensor*> sources = {call->x};
    for (int i = 0; i < call->segments; ++i) sources.push_back(call->segment[i].residual);
    const char* name = call->glu != cuda::MatVecCall::None ? "GATED_MAT_VEC"
                       : call->segments > 1                ? "JOINED_MAT_VEC"
                                                           : "MAT_VEC";
    for (size_t i = 1; i < p.outs.size(); ++i) {
      becomes_leaf(p.outs[i], fusion_);
      gone_.insert(p.outs[i]);
    }
    make_call(p.outs[0], support_, name, call, sources);
    ++fusion_->groups;
  }

  void attention(const Attention& a) {
    if (a.together) {
      const cuda::HeadsAttentionCall* call = store_.keep(a.both);
      const cuda::HeadsCall& heads = call->heads;
      for (ggml_tensor* written : {a.rotated, a.key_write, a.value_write}) {
        becomes_leaf(written, fusion_);
        gone_.insert(written);
      }
      make_call(a.node, support_, "HEADS_ATTENTION", call,
                {heads.q.tensor, heads.k.tensor, heads.v.tensor, heads.rows, heads.positions, heads.q_positions,
                 call->attention.mask});
      ++fusion_->groups;
      return;
    }
    if (a.prepared) {
      cuda::HeadsCall* heads = store_.keep(a.heads);
      if (a.rotated != nullptr) {
        becomes_leaf(a.rotated, fusion_);
        gone_.insert(a.rotated);
      }
      becomes_leaf(a.value_write, fusion_);
      gone_.insert(a.value_write);
      make_call(a.key_write, support_, "HEADS", heads,
                {heads->q.tensor, heads->k.tensor, heads->v.tensor, heads->rows, heads->positions, heads->q_positions});
      moved_[a.node] = a.key_write;
      gone_.insert(a.key_write);  // from its old place
      ++fusion_->groups;
    }
    if (!a.ours) return;
    cuda::AttentionCall* call = store_.keep(a.call);
    call->scratch = scratch_;
    make_call(a.node, support_, "DECODE_ATTENTION", call, {call->q, call->mask});
    ++fusion_->groups;
  }

  /// One scratch for all: they run one after the other.
  void make_scratch(const std::vector<Attention>& all) {
    int64_t elements = 0;
    for (const Attention& a : all)
      if (a.ours && !a.together)
        elements = std::max(elements, cuda::scratch_elements(a.call.head_dim, a.call.q_heads, a.call.tokens));
    if (elements == 0) return;
    scratch_ = ggml_new_tensor_1d(ctx_, GGML_TYPE_F32, elements);
    ggml_set_name(scratch_, "attention_scratch");
    fusion_->extra.push_back(scratch_);
  }

  /// Nodes in their new order, without those that nothing needs any more.
  std::vector<ggml_tensor*> order(const std::vector<ggml_tensor*>& nodes, const Built& built) const {
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
      // Whatever writes into memory of the caller's is wanted for that.
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
  const CallSupport& support_;
  CallStore& store_;
  Fusion* fusion_;
  ggml_tensor* scratch_ = nullptr;
  std::unordered_set<const ggml_tensor*> gone_;
  std::unordered_map<const ggml_tensor*, ggml_tensor*> moved_;  // attention -> the node that goes before it
};

/// Rows of a product that surely has a block for every multiprocessor of a device.
constexpr int64_t kManyRows = 512;

/// Whether a call's kernel may leave multiprocessors idle: only products have a block for each.
bool may_leave_idle(const cuda::Call* call) {
  if (call->kind != cuda::Kind::MatVec) return true;
  const auto* product = static_cast<const cuda::MatVecCall*>(call);
  int64_t rows = 0;
  for (int i = 0; i < (product->glu != cuda::MatVecCall::None ? 1 : product->segments); ++i)
    rows += product->segment[i].rows;
  return rows < kManyRows;
}

/// Tells every call whether the node that runs after it is one too, and products what runs before them.
void mark_neighbours(const std::vector<ggml_tensor*>& nodes) {
  cuda::Call* last = nullptr;
  for (ggml_tensor* node : nodes) {
    if (is_view(node) || is_leaf(node)) continue;
    cuda::Call* call = node->op == GGML_OP_CUSTOM ? const_cast<cuda::Call*>(call_of(node)) : nullptr;
    if (last != nullptr) last->overlaps_next = call != nullptr;
    if (call != nullptr && call->kind == cuda::Kind::MatVec)
      static_cast<cuda::MatVecCall*>(call)->spreads = last != nullptr && may_leave_idle(last);
    last = call;
  }
}

std::vector<ggml_tensor*> nodes_of(ggml_cgraph* graph) { return {graph->nodes, graph->nodes + graph->n_nodes}; }

}  // namespace

void make_call(ggml_tensor* node, const CallSupport& support, const char* name, const cuda::Call* call,
               const std::vector<const ggml_tensor*>& sources) {
  node->op = GGML_OP_CUSTOM;
  std::memset(node->op_params, 0, sizeof(node->op_params));
  const ggml_custom_op_params host = {support.on_host(), 1, nullptr};
  ggml_set_op_params(node, &host, sizeof(host));
  set_custom_op(node, name, call);
  std::fill(std::begin(node->src), std::end(node->src), nullptr);
  size_t count = 0;
  for (const ggml_tensor* source : sources) {
    if (source == nullptr || has_memory(source)) continue;
    if (std::find(node->src, node->src + count, source) != node->src + count) continue;
    GGML_ASSERT(count < GGML_MAX_SRC);
    node->src[count++] = const_cast<ggml_tensor*>(source);
  }
}

const cuda::Call* call_of(const ggml_tensor* node) { return custom_op_params<const cuda::Call*>(node); }

size_t separate_bytes(const Built& built) {
  size_t bytes = 0;
  for (int i = 0; i < ggml_graph_n_nodes(built.graph); ++i) {
    const ggml_tensor* node = ggml_graph_node(built.graph, i);
    if (node->view_src == nullptr && node->data == nullptr) bytes += ggml_nbytes(node);
  }
  return bytes;
}

Fusion fuse(ggml_context* ctx, Built& built, const CallSupport& support, CallStore& store) {
  Fusion fusion;
  const std::vector<ggml_tensor*> nodes = nodes_of(built.graph);
  const Readers readers(nodes, built.outputs);
  // Both before anything is rewritten: they read the graph as it was built.
  const std::vector<Product> products = find_products(nodes, readers, support);
  const std::vector<Attention> attention = find_attention(nodes, readers, support);
  if (products.empty() && attention.empty()) return fusion;
  Rewriter rewriter(ctx, support, store, &fusion);
  rewriter.make_scratch(attention);
  for (const Product& p : products) rewriter.product(p);
  for (const Attention& a : attention) rewriter.attention(a);

  const std::vector<ggml_tensor*> kept = rewriter.order(nodes, built);
  std::copy(kept.begin(), kept.end(), built.graph->nodes);
  built.graph->n_nodes = static_cast<int>(kept.size());
  mark_neighbours(kept);
  std::unordered_set<const ggml_tensor*> alive(kept.begin(), kept.end());
  for (const ggml_tensor* t : fusion.extra) alive.insert(t);
  for (const HostInput& input : built.host_inputs) alive.insert(input.tensor);
  for (ggml_tensor*& value : built.values) {
    if (value != nullptr && !has_memory(value) && alive.count(value) == 0) value = nullptr;
  }
  return fusion;
}

}  // namespace etggml::graph
