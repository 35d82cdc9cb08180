#include "graph/adapt.h"

#include <memory>

namespace etggml::graph {
namespace {

using Context = std::unique_ptr<ggml_context, decltype(&ggml_free)>;

Context scratch() {
  return {ggml_init({devices::TensorContexts::kRoom * ggml_tensor_overhead(), nullptr, true}), ggml_free};
}

ggml_tensor* packed(ggml_context* ctx, ggml_tensor* t) {
  return ggml_is_contiguous(t) || ggml_is_quantized(t->type) ? t : ggml_cont(ctx, t);
}

ggml_tensor* packed_f32(ggml_context* ctx, ggml_tensor* t) {
  // Integers of a graph are small enough to be exact in F32; nothing that makes others is lowered (docs/adding-an-op).
  return devices::is_float(t->type) || t->type == GGML_TYPE_I32 ? as_f32(ctx, packed(ctx, t)) : t;
}

ggml_tensor* with_packed(ggml_context* ctx, const Sources& src, const Make& make) {
  Sources copies;
  for (ggml_tensor* t : src) copies.push_back(packed(ctx, t));
  return make(ctx, copies);
}

ggml_tensor* with_f32(ggml_context* ctx, const Sources& src, const Make& make, ggml_type result) {
  Sources copies;
  for (ggml_tensor* t : src) copies.push_back(packed_f32(ctx, t));
  ggml_tensor* y = make(ctx, copies);
  return y->type == result ? y : ggml_cast(ctx, y, result);
}

}  // namespace

ggml_tensor* as_f32(ggml_context* ctx, ggml_tensor* t) {
  return t->type == GGML_TYPE_F32 ? t : ggml_cast(ctx, t, GGML_TYPE_F32);
}

bool device_runs(const NodeBuilder& b, const Sources& src, const Make& make) {
  const device_rules::DeviceProbe* device = b.options().device;
  if (!device) return true;
  // Apart from the graph's contexts, where a trial would take memory.
  Context ctx = scratch();
  if (!ctx) return false;
  make(ctx.get(), src);
  for (ggml_tensor* t = ggml_get_first_tensor(ctx.get()); t; t = ggml_get_next_tensor(ctx.get(), t)) {
    if (t->op != GGML_OP_NONE && !device->supports(t)) return false;
  }
  return true;
}

ggml_tensor* adapt(NodeBuilder& b, const Sources& src, const Make& make) {
  if (device_runs(b, src, make)) return make(b.ctx(), src);
  ggml_type result = GGML_TYPE_F32;
  {
    Context ctx = scratch();
    if (ctx) result = make(ctx.get(), src)->type;
  }
  const Make forms[] = {
      [&](ggml_context* ctx, const Sources& s) { return with_packed(ctx, s, make); },
      [&](ggml_context* ctx, const Sources& s) { return with_f32(ctx, s, make, result); },
  };
  for (const Make& form : forms) {
    if (device_runs(b, src, form)) return form(b.ctx(), src);
  }
  return make(b.ctx(), src);
}

}  // namespace etggml::graph
