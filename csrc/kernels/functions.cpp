#include "kernels/functions.h"

#include <algorithm>
#include <cmath>

#include "kernels/custom_op.h"
#include "kernels/special_functions.h"

namespace etggml::kernels {
namespace {

// Elements that are worth a ticket.
constexpr int64_t kPiece = 8192;

template <class F>
void each(const float* x, int64_t n, float* y, const F& f) {
  for (int64_t i = 0; i < n; ++i) y[i] = f(x[i]);
}

/// Below 0.01 the first two terms of the series; the third is 1e-9 of them. Above it the difference in double.
float tanhshrink(float x) {
  if (std::fabs(x) < 0.01f) {
    const double square = static_cast<double>(x) * x;
    return static_cast<float>(x * square * (1.0 / 3.0 - square * (2.0 / 15.0)));
  }
  return static_cast<float>(x - std::tanh(static_cast<double>(x)));
}

/// Comparisons are written so that NaN fails them and stays NaN.
void apply(const FunctionArgs& f, const float* x, int64_t n, float* y) {
  const float a = f.a, b = f.b;
  switch (f.kind) {
    case Function::kRelu:
      return each(x, n, y, [](float v) { return v < 0.0f ? 0.0f : v; });
    case Function::kLeakyRelu:
      return each(x, n, y, [a](float v) { return v > 0.0f ? v : v * a; });
    case Function::kClamp:
      return each(x, n, y, [a, b](float v) {
        const float low = v < a ? a : v;
        return low > b ? b : low;
      });
    case Function::kHardSigmoid:
      return each(x, n, y, [](float v) {
        const float u = (v + 3.0f) / 6.0f, low = u < 0.0f ? 0.0f : u;
        return low > 1.0f ? 1.0f : low;
      });
    case Function::kSoftplus:
      return each(x, n, y, [](float v) { return v > 20.0f ? v : log1pf(expf(v)); });
    case Function::kExpm1:
      return each(x, n, y, [](float v) { return expm1f(v); });
    case Function::kPower:
      return each(x, n, y, [a](float v) { return powf(v, a); });
    case Function::kPowerOf:
      return each(x, n, y, [a](float v) { return powf(a, v); });
    case Function::kTanhshrink:
      return each(x, n, y, tanhshrink);
    case Function::kErfinv:
      return each(x, n, y, erfinv);
    case Function::kLgamma:
      return each(x, n, y, lgamma_of);
    case Function::kDigamma:
      return each(x, n, y, digamma);
  }
}

const char* name(Function kind) {
  constexpr const char* kNames[] = {"RELU",  "LEAKY_RELU", "CLAMP",      "HARDSIGMOID", "SOFTPLUS", "EXPM1",
                                    "POWER", "POWER_OF",   "TANHSHRINK", "ERFINV",      "LGAMMA",   "DIGAMMA"};
  return kNames[static_cast<int>(kind)];
}

void compute(ggml_tensor* y, int thread, int threads, void*) {
  const auto args = custom_op_params<FunctionArgs>(y);
  const auto* from = static_cast<const float*>(y->src[0]->data);
  auto* to = static_cast<float*>(y->data);
  const int64_t n = ggml_nelements(y), pieces = (n + kPiece - 1) / kPiece;
  Tickets<FunctionArgs> tickets(y, pieces, thread, threads);
  for (int64_t i = tickets.take(); i < pieces; i = tickets.take()) {
    apply(args, from + i * kPiece, std::min(kPiece, n - i * kPiece), to + i * kPiece);
  }
}

}  // namespace

ggml_tensor* function(ggml_context* ctx, const FunctionArgs& args, ggml_tensor* x) {
  // Tickets are counted in 32 bits.
  if (x->type != GGML_TYPE_F32 || !ggml_is_contiguous(x) || ggml_nelements(x) / kPiece > (1 << 30)) return nullptr;
  ggml_tensor* y = ggml_custom_4d(ctx, GGML_TYPE_F32, x->ne[0], x->ne[1], x->ne[2], x->ne[3], &x, 1, compute,
                                  GGML_N_TASKS_MAX, nullptr);
  set_custom_op(y, name(args.kind), args);
  return y;
}

}  // namespace etggml::kernels
