#include "kernels/unary.h"

#include <algorithm>

#include "kernels/custom_op.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/unary.cpp"
#include "hwy/foreach_target.h"  // reads this file for every target
// after it
#include "kernels/simd_math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace etggml::kernels::HWY_NAMESPACE {
namespace {

#if ETGGML_SIMD

template <class Function>
inline void each(const float* x, int64_t n, float* y, Function function) {
  int64_t i = 0;
  for (; i + kW <= n; i += kW) store(y + i, function(load(x + i)));
  if (i == n) return;
  const Mask rest = first_lanes(static_cast<int>(n - i));
  store(y + i, function(load(x + i, rest)), rest);
}

void tanh_of(const float* x, int64_t n, float* y) {
  each(x, n, y, [](Reg v) HWY_ATTR { return tanh(v); });
}

void sigmoid_of(const float* x, int64_t n, float* y) {
  each(x, n, y, [](Reg v) HWY_ATTR { return sigmoid(v); });
}

UnaryFunctions of_target() { return {tanh_of, sigmoid_of}; }

#else

UnaryFunctions of_target() { return {}; }

#endif

}  // namespace
}  // namespace etggml::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace etggml::kernels {
namespace {

// Elements that are worth a ticket.
constexpr int64_t kPiece = 8192;

using OfArray = void (*)(const float*, int64_t, float*);

struct Params {
  OfArray function;
};

void compute(ggml_tensor* y, int thread, int threads, void*) {
  const OfArray function = custom_op_params<Params>(y).function;
  const auto* from = static_cast<const float*>(y->src[0]->data);
  auto* to = static_cast<float*>(y->data);
  const int64_t n = ggml_nelements(y), pieces = (n + kPiece - 1) / kPiece;
  Tickets<Params> tickets(y, pieces, thread, threads);
  for (int64_t i = tickets.take(); i < pieces; i = tickets.take()) {
    function(from + i * kPiece, std::min(kPiece, n - i * kPiece), to + i * kPiece);
  }
}

}  // namespace

HWY_EXPORT(of_target);

UnaryFunctions unary_functions() { return HWY_DYNAMIC_DISPATCH(of_target)(); }

ggml_tensor* unary(ggml_context* ctx, UnaryOp op, ggml_tensor* x, const UnaryFunctions& functions) {
  const OfArray function = op == UnaryOp::kTanh ? functions.tanh : functions.sigmoid;
  // Tickets are counted in 32 bits.
  if (!function || x->type != GGML_TYPE_F32 || !ggml_is_contiguous(x) || ggml_nelements(x) / kPiece > (1 << 30)) {
    return nullptr;
  }
  ggml_tensor* y = ggml_custom_4d(ctx, GGML_TYPE_F32, x->ne[0], x->ne[1], x->ne[2], x->ne[3], &x, 1, compute,
                                  GGML_N_TASKS_MAX, nullptr);
  set_custom_op(y, op == UnaryOp::kTanh ? "TANH" : "SIGMOID", Params{function});
  return y;
}

}  // namespace etggml::kernels
#endif  // HWY_ONCE
