#include "kernels/movement.h"

#include <algorithm>
#include <cstring>

#include "kernels/custom_op.h"

namespace etggml::kernels {
namespace {

// Bytes of the result that are worth a ticket.
constexpr int64_t kPiece = 64 << 10;
// Longer rows are a call of memcpy each, in ggml as well.
constexpr int64_t kMaxShortRow = 8;

void compute_concat(ggml_tensor* out, int thread, int threads, void*) {
  const ggml_tensor *x = out->src[0], *y = out->src[1];
  // Bytes of x, and of both, up to the joined dimension: the result is runs of the one and the other by turns.
  const auto dim = custom_op_params<int32_t>(out);
  const auto size = static_cast<int64_t>(ggml_type_size(out->type));
  int64_t first = size, both = size;
  for (int d = 0; d <= dim; ++d) first *= x->ne[d], both *= out->ne[d];
  const auto *from_x = static_cast<const char*>(x->data), *from_y = static_cast<const char*>(y->data);
  auto* to = static_cast<char*>(out->data);
  const auto total = static_cast<int64_t>(ggml_nbytes(out)), pieces = (total + kPiece - 1) / kPiece;
  Tickets<int32_t> tickets(out, pieces, thread, threads);
  for (int64_t piece = tickets.take(); piece < pieces; piece = tickets.take()) {
    const int64_t end = std::min(total, (piece + 1) * kPiece);
    for (int64_t at = piece * kPiece; at < end;) {
      const int64_t turn = at / both, in = at % both;
      const bool is_x = in < first;
      const int64_t count = std::min(end - at, (is_x ? first : both) - in);
      const char* from = is_x ? from_x + turn * first + in : from_y + turn * (both - first) + in - first;
      std::memcpy(to + at, from, static_cast<size_t>(count));
      at += count;
    }
  }
}

void compute_gather(ggml_tensor* out, int thread, int threads, void*) {
  const ggml_tensor *table = out->src[0], *ids = out->src[1];
  const int64_t n = table->ne[0], rows = table->ne[1], count = ids->ne[0], tables = table->ne[2] * table->ne[3];
  const auto row_bytes = static_cast<int64_t>(sizeof(float)) * n;
  const int64_t step = std::max<int64_t>(1, kPiece / (count * row_bytes)), steps = (tables + step - 1) / step;
  Tickets<int32_t> tickets(out, steps, thread, threads);
  for (int64_t ticket = tickets.take(); ticket < steps; ticket = tickets.take()) {
    for (int64_t i = ticket * step; i < std::min(tables, (ticket + 1) * step); ++i) {
      const float* from = static_cast<const float*>(table->data) + i * rows * n;
      const int32_t* id = static_cast<const int32_t*>(ids->data) + i * count;
      float* to = static_cast<float*>(out->data) + i * count * n;
      bool outside = false;
      for (int64_t j = 0; j < count; ++j) outside |= id[j] < 0 || id[j] >= rows;
      GGML_ASSERT(!outside);  // as ggml does; who fills numbers in has checked them
      if (n == 1) {
        for (int64_t j = 0; j < count; ++j) to[j] = from[id[j]];
      } else {
        for (int64_t j = 0; j < count; ++j) std::copy_n(from + id[j] * n, n, to + j * n);
      }
    }
  }
}

}  // namespace

ggml_tensor* concat(ggml_context* ctx, ggml_tensor* x, ggml_tensor* y, int dim) {
  if (x->type != y->type || ggml_blck_size(x->type) != 1) return nullptr;
  if (!ggml_is_contiguous(x) || !ggml_is_contiguous(y)) return nullptr;
  int64_t ne[4];
  for (int d = 0; d < 4; ++d) ne[d] = x->ne[d] + (d == dim ? y->ne[d] : 0);
  ggml_tensor* args[2] = {x, y};
  ggml_tensor* out =
      ggml_custom_4d(ctx, x->type, ne[0], ne[1], ne[2], ne[3], args, 2, compute_concat, GGML_N_TASKS_MAX, nullptr);
  set_custom_op(out, "CONCAT", static_cast<int32_t>(dim));
  return out;
}

ggml_tensor* gather(ggml_context* ctx, ggml_tensor* table, ggml_tensor* ids) {
  if (table->type != GGML_TYPE_F32 || ids->type != GGML_TYPE_I32 || table->ne[0] > kMaxShortRow) return nullptr;
  if (!ggml_is_contiguous(table) || !ggml_is_contiguous(ids)) return nullptr;
  ggml_tensor* args[2] = {table, ids};
  ggml_tensor* out = ggml_custom_4d(ctx, GGML_TYPE_F32, table->ne[0], ids->ne[0], ids->ne[1], ids->ne[2], args, 2,
                                    compute_gather, GGML_N_TASKS_MAX, nullptr);
  set_custom_op(out, "GATHER", int32_t{0});
  return out;
}

}  // namespace etggml::kernels
