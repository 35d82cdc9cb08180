// Ops that only move or rename elements: reshape, view, permute, repeat, concat, pad.
#include "graph/adapt.h"
#include "ir/validate.h"

namespace etggml::graph {
namespace {

using ll = long long;

/// Strides of dimensions of size 1 mean nothing, but kernels compare them: give them the value packed memory would
/// have.
void normalise_unit_strides(ggml_tensor* t) {
  if (t->ne[0] == 1 && ggml_blck_size(t->type) == 1) t->nb[0] = ggml_type_size(t->type);
  for (int d = 1; d < 4; ++d) {
    if (t->ne[d] != 1) continue;
    t->nb[d] = d == 1 ? ggml_row_size(t->type, t->ne[0]) : t->nb[d - 1] * static_cast<size_t>(t->ne[d - 1]);
  }
}

/// Bytes of `elements` of a type whose blocks must not be cut; false when they are.
bool whole_blocks(ggml_type type, int64_t elements, size_t* bytes) {
  const int64_t block = ggml_blck_size(type);
  uint64_t product = 0;
  if (elements < 0 || elements % block != 0 ||
      __builtin_mul_overflow(static_cast<uint64_t>(elements / block), static_cast<uint64_t>(ggml_type_size(type)),
                             &product)) {
    return false;
  }
  *bytes = product;
  return true;
}

/// Bytes from the first element of `ne` at strides `nb` to the end of the last; false when that overflows.
bool span(const Shape& ne, const size_t* nb, ggml_type type, size_t* out) {
  uint64_t total = ggml_row_size(type, ne[0]);
  for (int d = 1; d < 4; ++d) {
    uint64_t part = 0;
    if (__builtin_mul_overflow(static_cast<uint64_t>(ne[d] - 1), static_cast<uint64_t>(nb[d]), &part) ||
        __builtin_add_overflow(total, part, &total)) {
      return false;
    }
  }
  *out = total;
  return true;
}

}  // namespace

Result<ggml_tensor*> build_reshape(NodeBuilder& b) {
  ggml_tensor* x = b.src(0);
  const Shape& ne = b.ne();
  ETGGML_RETURN_IF_ERROR(b.contiguous(0));
  if (ggml_nelements(x) != ir::element_count(ne)) {
    return b.fail("%s reshaped to %s", shape_text(shape_of(x)).c_str(), shape_text(ne).c_str());
  }
  if (ne[0] % ggml_blck_size(x->type) != 0) return b.type_problem(0, "the new rows are not whole blocks");
  return ggml_reshape_4d(b.ctx(), x, ne[0], ne[1], ne[2], ne[3]);
}

Result<ggml_tensor*> build_view(NodeBuilder& b) {
  const auto* op = b.node().op_as_View();
  ggml_tensor* x = b.src(0);
  const Shape& ne = b.ne();
  if (x->nb[0] != ggml_type_size(x->type)) return b.fail("the rows of src[0] are not contiguous");
  size_t nb[4] = {x->nb[0], 0, 0, 0}, offset = 0;
  bool whole = ne[0] % ggml_blck_size(x->type) == 0 && whole_blocks(x->type, b.dim(op->offset()), &offset);
  for (uint32_t d = 1; d < 4; ++d)
    whole = whole && (ne[d] == 1 || whole_blocks(x->type, b.dim(op->strides()->Get(d)), &nb[d]));
  if (!whole) {
    return b.type_problem(
        0, format("the view cuts its blocks of %lld elements", static_cast<ll>(ggml_blck_size(x->type))).c_str());
  }
  // Inside its parent, and (what ggml asserts) no larger than the memory behind its start when packed.
  size_t bytes = 0;
  const size_t root = ggml_nbytes(x->view_src ? x->view_src : x), start = x->view_offs + offset;
  const size_t packed = ggml_row_size(x->type, ne[0]) * static_cast<size_t>(ne[1] * ne[2] * ne[3]);
  if (!span(ne, nb, x->type, &bytes) || bytes > ggml_nbytes(x) || offset > ggml_nbytes(x) - bytes || start > root ||
      packed > root - start) {
    return b.fail("the view of shape %s leaves its source of %zu bytes", shape_text(ne).c_str(), ggml_nbytes(x));
  }
  ggml_tensor* view = ggml_view_4d(b.ctx(), x, ne[0], ne[1], ne[2], ne[3], nb[1], nb[2], nb[3], offset);
  normalise_unit_strides(view);
  return view;
}

Result<ggml_tensor*> build_permute(NodeBuilder& b) {
  const auto* axes = b.node().op_as_Permute()->axes();
  ggml_tensor* x = b.src(0);
  if (ggml_blck_size(x->type) != 1 && axes->Get(0) != 0) return b.type_problem(0, "blocks cannot be permuted");
  Shape ne;
  for (uint32_t d = 0; d < 4; ++d) ne[axes->Get(d)] = x->ne[d];
  ETGGML_RETURN_IF_ERROR(b.result_shape(ne));
  ggml_tensor* y = ggml_permute(b.ctx(), x, axes->Get(0), axes->Get(1), axes->Get(2), axes->Get(3));
  normalise_unit_strides(y);
  return y;
}

Result<ggml_tensor*> build_repeat(NodeBuilder& b) {
  ggml_tensor* x = b.src(0);
  const Shape& ne = b.ne();
  ETGGML_RETURN_IF_ERROR(b.type_in(0, {GGML_TYPE_F32, GGML_TYPE_I32, GGML_TYPE_F16, GGML_TYPE_BF16, GGML_TYPE_I16}));
  ETGGML_RETURN_IF_ERROR(b.dense_rows(0));
  for (int d = 0; d < 4; ++d) {
    if (ne[d] % x->ne[d] != 0) {
      return b.fail("%s does not repeat into %s", shape_text(shape_of(x)).c_str(), shape_text(ne).c_str());
    }
  }
  return adapt(b, {x}, [ne](ggml_context* ctx, const Sources& s) {
    return ggml_repeat_4d(ctx, s[0], ne[0], ne[1], ne[2], ne[3]);
  });
}

Result<ggml_tensor*> build_concat(NodeBuilder& b) {
  ggml_tensor* x = b.src(0);
  ggml_tensor* y = b.src(1);
  const int dim = b.node().op_as_Concat()->dim();
  if (x->type != y->type) return b.fail("its sources are %s and %s", ggml_type_name(x->type), ggml_type_name(y->type));
  Shape ne = shape_of(x);
  for (int d = 0; d < 4; ++d) {
    if (d == dim) {
      ne[d] += y->ne[d];
    } else if (x->ne[d] != y->ne[d]) {
      return b.fail("%s and %s cannot be joined along dimension %d", shape_text(shape_of(x)).c_str(),
                    shape_text(shape_of(y)).c_str(), dim);
    }
  }
  for (uint32_t i = 0; i < 2; ++i) ETGGML_RETURN_IF_ERROR(b.dense_rows(i));
  ETGGML_RETURN_IF_ERROR(b.result_shape(ne));
  if (Kernels* kernels = b.options().kernels) {
    if (ggml_tensor* ours = kernels->concat(b.ctx(), x, y, dim)) return ours;
  }
  return adapt(b, {x, y}, [dim](ggml_context* ctx, const Sources& s) { return ggml_concat(ctx, s[0], s[1], dim); });
}

Result<ggml_tensor*> build_pad(NodeBuilder& b) {
  const auto* before = b.node().op_as_Pad()->before();
  const auto* after = b.node().op_as_Pad()->after();
  ggml_tensor* x = b.src(0);
  ETGGML_RETURN_IF_ERROR(b.type_in(0, {GGML_TYPE_F32}));
  Shape ne = shape_of(x);
  for (uint32_t d = 0; d < 4; ++d) ne[d] += int64_t{before->Get(d)} + after->Get(d);
  ETGGML_RETURN_IF_ERROR(b.result_shape(ne));
  return adapt(b, {x}, [=](ggml_context* ctx, const Sources& s) {
    return ggml_pad_ext(ctx, s[0], before->Get(0), after->Get(0), before->Get(1), after->Get(1), before->Get(2),
                        after->Get(2), before->Get(3), after->Get(3));
  });
}

}  // namespace etggml::graph
