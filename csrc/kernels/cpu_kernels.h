// The CPU kernels of ours, chosen for this machine.
#pragma once

#include <string>

#include "kernels/attention.h"
#include "kernels/batched.h"
#include "kernels/conv.h"
#include "kernels/exact_rows.h"
#include "kernels/functions.h"
#include "kernels/gemm.h"
#include "kernels/gemv_prefetch.h"
#include "kernels/kernels.h"
#include "kernels/linear.h"
#include "kernels/movement.h"
#include "kernels/recurrence.h"
#include "kernels/rows.h"
#include "kernels/running_sum.h"
#include "kernels/softmax.h"
#include "kernels/unary.h"
#include "util/status.h"

namespace etggml::kernels {

/// Is `names` a list that CpuKernelSet takes? ETGGML_INVALID_ARGUMENT names the first word that is no kernel.
Status check_kernel_names(const std::string& names);

/// Shared by every build; must outlive the graphs.
struct CpuKernelSet {
  GemvPrefetch gemv;
  GemmKernel gemm;
  AttentionKernel attention;
  LinearKernel linear;
  ConvKernel conv;
  UnaryFunctions unary;
  RecurrenceFunctions recurrence;
  SoftMaxRow soft_max = nullptr;
  bool use_gemv = true;
  bool use_gemm = true;
  bool use_attention = true;
  bool use_linear = true;
  bool use_conv = true;
  bool use_rows = true;
  bool use_exact = true;

  /// `traits`: ggml_get_type_traits_cpu of the loaded module, or nullptr. `names`: the kernels to use, separated by
  /// commas. They are "gemv", "gemm", "attention", "linear", "conv", "rows", "unary", "recurrence" and "exact"; "none"
  /// for none, "" for all. "exact" is right where ggml's kernels are not: functions, softmax of an empty row, products
  /// of numbers that are not finite.
  CpuKernelSet(const ggml_type_traits_cpu* (*traits)(ggml_type), int threads, const std::string& names);
};

/// For one build.
class CpuKernels final : public Kernels {
 public:
  explicit CpuKernels(const CpuKernelSet& set) : set_(set) {}
  ggml_tensor* mul_mat(ggml_context* ctx, ggml_tensor* w, ggml_tensor* x) override;
  ggml_tensor* linear(ggml_context* ctx, ggml_tensor* w, ggml_tensor* x, const Fused& fused) override;
  ggml_tensor* conv_2d(ggml_context* ctx, const ConvArgs& args) override;
  ggml_tensor* conv_3d(ggml_context* ctx, const Conv3dArgs& args) override;
  ggml_tensor* pool_2d(ggml_context* ctx, const PoolArgs& args) override;
  ggml_tensor* per_row(ggml_context* ctx, RowOp op, ggml_tensor* x, ggml_tensor* y) override;
  ggml_tensor* unary(ggml_context* ctx, UnaryOp op, ggml_tensor* x) override;
  ggml_tensor* recurrence(ggml_context* ctx, const RecurrenceArgs& args) override;
  ggml_tensor* function(ggml_context* ctx, const FunctionArgs& args, ggml_tensor* x) override;
  ggml_tensor* running_sum(ggml_context* ctx, ggml_tensor* x) override;
  ggml_tensor* soft_max(ggml_context* ctx, const SoftMaxArgs& args) override;
  ggml_tensor* mended(ggml_context* ctx, ggml_tensor* y, ggml_tensor* w, ggml_tensor* x, ggml_tensor* ids) override;
  ggml_tensor* row_means(ggml_context* ctx, ggml_tensor* x) override;
  ggml_tensor* concat(ggml_context* ctx, ggml_tensor* x, ggml_tensor* y, int dim) override;
  ggml_tensor* get_rows(ggml_context* ctx, ggml_tensor* table, ggml_tensor* ids) override;
  ggml_tensor* attention(ggml_context* ctx, const AttentionArgs& args) override;

 private:
  const CpuKernelSet& set_;
  PackedActivations packed_;
  PackedPanels panels_;
};

}  // namespace etggml::kernels
