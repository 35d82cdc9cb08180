#include "fusion/device_kernels.h"

#include "fusion/readers.h"

namespace etggml::graph {
namespace {

ChoiceNodes choice_nodes(ggml_context* ctx, int64_t scratch_elements) {
  ChoiceNodes made;
  made.node = ggml_new_tensor_1d(ctx, GGML_TYPE_I32, 1);
  made.scratch = ggml_new_tensor_1d(ctx, GGML_TYPE_F32, scratch_elements);
  ggml_set_name(made.node, "chosen");
  ggml_set_name(made.scratch, "choice_scratch");
  return made;
}

}  // namespace

ggml_tensor* DeviceKernels::causal_mask(ggml_context* ctx, ggml_tensor* positions, int64_t n_kv, int64_t window) {
  if (positions->type != GGML_TYPE_I32 || !ggml_is_contiguous(positions) || positions->view_src != nullptr)
    return nullptr;
  cuda::CausalMaskCall call = {};
  call.kind = cuda::Kind::CausalMask;
  call.positions = positions;
  call.n_kv = n_kv;
  call.window = window;
  call.tokens = static_cast<int32_t>(ggml_nelements(positions));
  if (!support_.supports(call)) return nullptr;
  ggml_tensor* mask = ggml_new_tensor_2d(ctx, GGML_TYPE_F16, n_kv, call.tokens);
  cuda::CausalMaskCall* kept = store_.keep(call);
  kept->out = mask;
  make_call(mask, support_, "CAUSAL_MASK", kept, {positions});
  return mask;
}

ChoiceNodes argmax_call(ggml_context* ctx, ggml_tensor* logits, const CallSupport& support, CallStore& store) {
  cuda::ArgmaxCall call = {};
  call.kind = cuda::Kind::Argmax;
  call.x = logits;
  if (!dense_f32(logits) || !support.supports(call)) return {};
  ChoiceNodes made = choice_nodes(ctx, cuda::kArgmaxScratch);
  cuda::ArgmaxCall* kept = store.keep(call);
  kept->out = made.node;
  kept->scratch = made.scratch;
  make_call(made.node, support, "ARGMAX", kept, {logits, made.scratch});
  return made;
}

ChoiceNodes sample_call(ggml_context* ctx, ggml_tensor* logits, const CallSupport& support, CallStore& store) {
  cuda::SampleCall call = {};
  call.kind = cuda::Kind::Sample;
  call.x = logits;
  if (!dense_f32(logits) || logits->ne[0] > INT32_MAX || !support.supports(call)) return {};
  ChoiceNodes made = choice_nodes(ctx, cuda::sample_scratch_elements(logits->ne[0]));
  made.params = ggml_new_tensor_1d(ctx, GGML_TYPE_F32, cuda::kSampleParams);
  ggml_set_name(made.params, "sample_params");
  cuda::SampleCall* kept = store.keep(call);
  kept->out = made.node;
  kept->scratch = made.scratch;
  kept->params = made.params;
  make_call(made.node, support, "SAMPLE", kept, {logits, made.params, made.scratch});
  return made;
}

}  // namespace etggml::graph
