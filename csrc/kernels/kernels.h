// Where kernels of ours may stand in for ggml's. Builders ask (graph/ops/*.cpp) after every precondition of ggml's own
// op holds; nullptr leaves the op to ggml.
#pragma once

#include "ggml.h"
#include "kernels/epilogue.h"

namespace etggml::kernels {

/// As in the schema, where they are explained.
enum class HiddenKeys : int8_t { kPassed, kCounted, kCausal };

/// Operands of ggml_flash_attn_ext: q [D, T, H, B] F32, k [D, S, Hkv, B], v [Dv, S, Hkv, B], mask F16 or nullptr, sinks
/// F32 [H] or nullptr.
struct AttentionArgs {
  ggml_tensor* q = nullptr;
  ggml_tensor* k = nullptr;
  ggml_tensor* v = nullptr;
  ggml_tensor* mask = nullptr;
  ggml_tensor* sinks = nullptr;
  float scale = 1.0f;
  float max_bias = 0.0f;
  float softcap = 0.0f;
  HiddenKeys hidden = HiddenKeys::kPassed;
};

/// softmax(x * scale + mask) along ne[0]: x contiguous F32, mask F16 or F32 or nullptr; zeros for a row of -inf.
struct SoftMaxArgs {
  ggml_tensor* x = nullptr;
  ggml_tensor* mask = nullptr;
  float scale = 1.0f;
  bool bounds = false;  // the mask is -inf or 0, and -inf hides a NaN, too
};

/// Elementwise functions with up to two numbers: slope; bounds; exponent; base.
enum class Function : int32_t {
  kRelu,
  kLeakyRelu,
  kClamp,
  kHardSigmoid,
  kSoftplus,
  kExpm1,
  kPower,
  kPowerOf,
  kTanhshrink,
  kErfinv,
  kLgamma,
  kDigamma
};
struct FunctionArgs {
  Function kind = Function::kRelu;
  float a = 0.0f, b = 0.0f;
};

/// The steps that follow a product: bias F32 [rows of the weight] or nullptr, then the epilogue.
struct Fused {
  ggml_tensor* bias = nullptr;
  Epilogue epilogue;
};

/// kernel [KW, KH, C | 1, OC], image F32 [W, H, C, N] -> F32 [out_w, out_h, OC, N]. A kernel of one channel under an
/// image of OC channels is depthwise. Pairs are (width, height).
struct ConvArgs {
  ggml_tensor* kernel = nullptr;
  ggml_tensor* image = nullptr;
  int stride[2] = {1, 1}, padding[2] = {0, 0}, dilation[2] = {1, 1};
  int64_t out_w = 0, out_h = 0;
  Fused fused;
};

/// kernel [KW, KH, KD, C * OC], volume F32 [W, H, D, C * N] -> F32 [out_w, out_h, out_d, OC * N]. Triples are (width,
/// height, depth).
struct Conv3dArgs {
  ggml_tensor* kernel = nullptr;
  ggml_tensor* volume = nullptr;
  int64_t channels = 1;
  int stride[3] = {1, 1, 1}, padding[3] = {0, 0, 0}, dilation[3] = {1, 1, 1};
  int64_t out_w = 0, out_h = 0, out_d = 0;
  Fused fused;
};

/// Pooling of image F32 [W, H, C, N] -> F32 [out_w, out_h, C, N]. Pairs are (width, height).
struct PoolArgs {
  ggml_tensor* image = nullptr;
  bool max = false;  // else means, of whole windows
  int window[2] = {1, 1}, stride[2] = {1, 1}, padding[2] = {0, 0};
  int64_t out_w = 0, out_h = 0;
};

/// Elementwise functions that ggml computes one element at a time.
enum class UnaryOp : int32_t { kTanh, kSigmoid };

/// One direction of a recurrent layer: see Recurrence in the schema.
enum class Cell : int32_t { kTanh, kRelu, kLstm, kGru };
struct RecurrenceArgs {
  ggml_tensor *w = nullptr, *gates = nullptr, *bias = nullptr, *hidden = nullptr;
  ggml_tensor* cell_state = nullptr;  // kLstm
  Cell cell = Cell::kTanh;
  bool reverse = false;
};

/// x op y, y being one number for all of a row.
enum class RowOp : int32_t { kAdd, kSub, kMul, kDiv };

/// One build of a graph asks this. Implementations may remember tensors of that build; they must not throw and may make
/// a few tensors besides the result.
class Kernels {
 public:
  virtual ~Kernels() = default;
  /// F32 [w->ne[1], x->ne[1], x->ne[2], x->ne[3]].
  virtual ggml_tensor* mul_mat(ggml_context*, ggml_tensor* /*w*/, ggml_tensor* /*x*/) { return nullptr; }
  /// The same and the steps that follow it; asked first where there are any.
  virtual ggml_tensor* linear(ggml_context*, ggml_tensor* /*w*/, ggml_tensor* /*x*/, const Fused&) { return nullptr; }
  virtual ggml_tensor* conv_2d(ggml_context*, const ConvArgs&) { return nullptr; }
  virtual ggml_tensor* conv_3d(ggml_context*, const Conv3dArgs&) { return nullptr; }
  virtual ggml_tensor* pool_2d(ggml_context*, const PoolArgs&) { return nullptr; }
  /// F16 [n_kv, positions], see CausalMask in the schema; otherwise the host fills it.
  virtual ggml_tensor* causal_mask(ggml_context*, ggml_tensor* /*positions*/, int64_t /*n_kv*/, int64_t /*window*/) {
    return nullptr;
  }
  /// F32 of x's shape, right for NaN and for small results.
  virtual ggml_tensor* function(ggml_context*, const FunctionArgs&, ggml_tensor* /*x*/) { return nullptr; }
  /// Sums along ne[0] up to each element, F32 of x's shape.
  virtual ggml_tensor* running_sum(ggml_context*, ggml_tensor* /*x*/) { return nullptr; }
  /// F32 of x's shape.
  virtual ggml_tensor* soft_max(ggml_context*, const SoftMaxArgs&) { return nullptr; }
  /// y, ggml's product w * x (with `ids`, of experts), with wrong rows corrected in place. A row is wrong if the type
  /// that ggml converts x to cannot hold its numbers. y itself if no row can be wrong.
  virtual ggml_tensor* mended(ggml_context*, ggml_tensor* y, ggml_tensor* /*w*/, ggml_tensor* /*x*/,
                              ggml_tensor* /*ids*/) {
    return y;
  }
  /// x op y, y repeated: F32 of x's shape.
  virtual ggml_tensor* per_row(ggml_context*, RowOp, ggml_tensor* /*x*/, ggml_tensor* /*y*/) { return nullptr; }
  /// F32 of x's shape.
  virtual ggml_tensor* unary(ggml_context*, UnaryOp, ggml_tensor* /*x*/) { return nullptr; }
  /// The result that the schema promises, of contiguous F32 operands. Without it, nodes are made for each step.
  virtual ggml_tensor* recurrence(ggml_context*, const RecurrenceArgs&) { return nullptr; }
  /// F32 [1, x->ne[1], x->ne[2], x->ne[3]].
  virtual ggml_tensor* row_means(ggml_context*, ggml_tensor* /*x*/) { return nullptr; }
  /// ggml_concat of two tensors of one type.
  virtual ggml_tensor* concat(ggml_context*, ggml_tensor* /*x*/, ggml_tensor* /*y*/, int /*dim*/) { return nullptr; }
  /// ggml_get_rows; ids I32.
  virtual ggml_tensor* get_rows(ggml_context*, ggml_tensor* /*table*/, ggml_tensor* /*ids*/) { return nullptr; }
  /// F32 [Dv, H, T, B].
  virtual ggml_tensor* attention(ggml_context*, const AttentionArgs&) { return nullptr; }
};

}  // namespace etggml::kernels
