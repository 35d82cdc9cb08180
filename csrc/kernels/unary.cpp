#include "kernels/unary.h"

#include <algorithm>

#include "kernels/custom_op.h"
#include "util/cpu.h"

namespace etggml::graph {
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

UnaryFunctions unary_functions() {
  if (cpu_has_avx512()) {
    if (const UnaryFunctions functions = unary_avx512(); functions.tanh) return functions;
  }
  return cpu_has_avx2() ? unary_avx2() : UnaryFunctions();
}

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

}  // namespace etggml::graph
