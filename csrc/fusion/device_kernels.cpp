#include "fusion/device_kernels.h"

#include "fusion/readers.h"

namespace etggml::fusion {
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
  cuda::CausalMaskDesc desc = {};
  desc.kind = cuda::Kind::CausalMask;
  desc.positions = positions;
  desc.n_kv = n_kv;
  desc.window = window;
  desc.tokens = static_cast<int32_t>(ggml_nelements(positions));
  if (!support_.supports(desc)) return nullptr;
  ggml_tensor* mask = ggml_new_tensor_2d(ctx, GGML_TYPE_F16, n_kv, desc.tokens);
  cuda::CausalMaskDesc* kept = store_.keep(desc);
  kept->out = mask;
  make_kernel_node(mask, support_, "CAUSAL_MASK", kept, {positions});
  return mask;
}

ChoiceNodes argmax_nodes(ggml_context* ctx, ggml_tensor* logits, const KernelSupport& support, DescStore& store) {
  cuda::ArgmaxDesc desc = {};
  desc.kind = cuda::Kind::Argmax;
  desc.x = logits;
  if (!dense_f32(logits) || !support.supports(desc)) return {};
  ChoiceNodes made = choice_nodes(ctx, cuda::kArgmaxScratch);
  cuda::ArgmaxDesc* kept = store.keep(desc);
  kept->out = made.node;
  kept->scratch = made.scratch;
  make_kernel_node(made.node, support, "ARGMAX", kept, {logits, made.scratch});
  return made;
}

ChoiceNodes sample_nodes(ggml_context* ctx, ggml_tensor* logits, const KernelSupport& support, DescStore& store) {
  cuda::SampleDesc desc = {};
  desc.kind = cuda::Kind::Sample;
  desc.x = logits;
  if (!dense_f32(logits) || logits->ne[0] > INT32_MAX || !support.supports(desc)) return {};
  ChoiceNodes made = choice_nodes(ctx, cuda::sample_scratch_elements(logits->ne[0]));
  made.params = ggml_new_tensor_1d(ctx, GGML_TYPE_F32, cuda::kSampleParams);
  ggml_set_name(made.params, "sample_params");
  cuda::SampleDesc* kept = store.keep(desc);
  kept->out = made.node;
  kept->scratch = made.scratch;
  kept->params = made.params;
  make_kernel_node(made.node, support, "SAMPLE", kept, {logits, made.params, made.scratch});
  return made;
}

}  // namespace etggml::fusion
