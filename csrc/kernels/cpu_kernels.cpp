#include "kernels/cpu_kernels.h"

#include <algorithm>
#include <iterator>
#include <sstream>

#include "util/cpu.h"

namespace etggml::kernels {
namespace {

bool listed(const std::string& names, const char* name) {
  return names.empty() || ("," + names + ",").find(std::string(",") + name + ",") != std::string::npos;
}

constexpr const char* kNames[] = {"gemv", "gemm",  "attention",  "linear", "conv",
                                  "rows", "unary", "recurrence", "exact",  "none"};

}  // namespace

Status check_kernel_names(const std::string& names) {
  std::istringstream words(names);
  for (std::string word; std::getline(words, word, ',');) {
    if (std::find(std::begin(kNames), std::end(kNames), word) == std::end(kNames)) {
      return error(
          ETGGML_INVALID_ARGUMENT,
          "EXECUTORCH_GGML_KERNELS: there is no kernel '%s'; give gemv, gemm, attention, linear, conv, rows, unary, "
          "recurrence and exact, separated by commas, or none",
          word.c_str());
    }
  }
  return ok_status();
}

CpuKernelSet::CpuKernelSet(const ggml_type_traits_cpu* (*traits)(ggml_type), int threads, const std::string& names) {
  gemv.traits = traits;
  if (cpu_has_avx512_vnni()) gemm.functions = gemm_avx512vnni();
  attention.tile = attention_tile_functions();
  attention.block = attention_block_functions();
  attention.threads = threads;
  linear.functions = panel_functions();
  gemm.finish = linear.functions.finish;
  conv.panel = linear.functions;
  conv.window = window_functions();
  use_gemv = traits != nullptr && listed(names, "gemv");
  use_gemm = listed(names, "gemm");
  use_attention = listed(names, "attention");
  use_linear = listed(names, "linear");
  use_conv = listed(names, "conv");
  use_rows = listed(names, "rows");
  if (listed(names, "unary")) unary = unary_functions();
  if (listed(names, "recurrence")) recurrence = recurrence_functions();
  use_exact = listed(names, "exact");
  soft_max = soft_max_row();
}

ggml_tensor* CpuKernels::mul_mat(ggml_context* ctx, ggml_tensor* w, ggml_tensor* x) {
  if (set_.use_gemm) {
    if (ggml_tensor* y = gemm(ctx, w, x, Fused(), set_.gemm, packed_)) return y;
  }
  if (set_.use_linear) {
    if (ggml_tensor* y = kernels::linear(ctx, w, x, Fused(), set_.linear, panels_)) return y;
    if (ggml_tensor* y = batched(ctx, w, x, set_.linear)) return y;
  }
  return set_.use_gemv ? gemv_prefetch(ctx, w, x, set_.gemv) : nullptr;
}

ggml_tensor* CpuKernels::linear(ggml_context* ctx, ggml_tensor* w, ggml_tensor* x, const Fused& fused) {
  if (set_.use_gemm) {
    if (ggml_tensor* y = gemm(ctx, w, x, fused, set_.gemm, packed_)) return y;
  }
  return set_.use_linear ? kernels::linear(ctx, w, x, fused, set_.linear, panels_) : nullptr;
}

ggml_tensor* CpuKernels::conv_3d(ggml_context* ctx, const Conv3dArgs& args) {
  return set_.use_conv ? kernels::conv_3d(ctx, args, set_.conv) : nullptr;
}

ggml_tensor* CpuKernels::conv_2d(ggml_context* ctx, const ConvArgs& args) {
  return set_.use_conv ? kernels::conv_2d(ctx, args, set_.conv) : nullptr;
}

ggml_tensor* CpuKernels::pool_2d(ggml_context* ctx, const PoolArgs& args) {
  return set_.use_conv ? kernels::pool_2d(ctx, args, set_.conv) : nullptr;
}

ggml_tensor* CpuKernels::per_row(ggml_context* ctx, RowOp op, ggml_tensor* x, ggml_tensor* y) {
  return set_.use_rows ? kernels::per_row(ctx, op, x, y) : nullptr;
}

ggml_tensor* CpuKernels::unary(ggml_context* ctx, UnaryOp op, ggml_tensor* x) {
  return kernels::unary(ctx, op, x, set_.unary);
}

ggml_tensor* CpuKernels::recurrence(ggml_context* ctx, const RecurrenceArgs& args) {
  return kernels::recurrence(ctx, args, set_.recurrence);
}

ggml_tensor* CpuKernels::function(ggml_context* ctx, const FunctionArgs& args, ggml_tensor* x) {
  return set_.use_exact ? kernels::function(ctx, args, x) : nullptr;
}

ggml_tensor* CpuKernels::running_sum(ggml_context* ctx, ggml_tensor* x) {
  return set_.use_exact ? kernels::running_sum(ctx, x) : nullptr;
}

ggml_tensor* CpuKernels::soft_max(ggml_context* ctx, const SoftMaxArgs& args) {
  return set_.use_exact ? kernels::soft_max(ctx, args, set_.soft_max) : nullptr;
}

ggml_tensor* CpuKernels::mended(ggml_context* ctx, ggml_tensor* y, ggml_tensor* w, ggml_tensor* x, ggml_tensor* ids) {
  return set_.use_exact ? kernels::mended(ctx, y, w, x, ids) : y;
}

ggml_tensor* CpuKernels::row_means(ggml_context* ctx, ggml_tensor* x) {
  return set_.use_rows ? kernels::row_means(ctx, x) : nullptr;
}

ggml_tensor* CpuKernels::concat(ggml_context* ctx, ggml_tensor* x, ggml_tensor* y, int dim) {
  return set_.use_rows ? kernels::concat(ctx, x, y, dim) : nullptr;
}

ggml_tensor* CpuKernels::get_rows(ggml_context* ctx, ggml_tensor* table, ggml_tensor* ids) {
  return set_.use_rows ? gather(ctx, table, ids) : nullptr;
}

ggml_tensor* CpuKernels::attention(ggml_context* ctx, const AttentionArgs& args) {
  return set_.use_attention ? kernels::attention(ctx, args, set_.attention) : nullptr;
}

}  // namespace etggml::kernels
