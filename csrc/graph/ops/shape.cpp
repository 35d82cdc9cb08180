// Ops that only move or rename elements: reshape, view, permute, repeat, concat, pad.
#include "graph/adapt.h"
#include "graph/op_row.h"
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

/// Bytes of `elements` of a type, in whole blocks; false when a block would be cut.
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

Status check_view(const ir::NodeCheck& c) {
  const auto& view = *c.node().op_as_View();
  const uint32_t n = ir::Graph::count(view.strides());
  if (n != 4) return c.fail("strides has %u entries, not 4", n);
  ETGGML_RETURN_IF_ERROR(c.dimensions(view.strides(), "strides"));
  return c.dimension(view.offset(), "offset");
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
  // Inside its parent, and (as ggml asserts) no larger than the memory behind its start when packed.
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

Status check_permute(const ir::NodeCheck& c) {
  const auto* axes = c.node().op_as_Permute()->axes();
  unsigned seen = 0;
  for (uint32_t i = 0; i < ir::Graph::count(axes); ++i) seen |= axes->Get(i) < 4 ? 1u << axes->Get(i) : 0u;
  if (ir::Graph::count(axes) != 4 || seen != 15) return c.fail("axes is not a permutation of 0..3");
  return ok_status();
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

Status check_concat(const ir::NodeCheck& c) {
  const int dim = c.node().op_as_Concat()->dim();
  return dim >= 0 && dim <= 3 ? ok_status() : c.fail("dim %d is outside 0..3", dim);
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
  if (kernels::Kernels* kernels = b.options().kernels) {
    if (ggml_tensor* ours = kernels->concat(b.ctx(), x, y, dim)) return ours;
  }
  return adapt(b, {x, y}, [dim](ggml_context* ctx, const Sources& s) { return ggml_concat(ctx, s[0], s[1], dim); });
}

Status check_pad(const ir::NodeCheck& c) {
  const auto& pad = *c.node().op_as_Pad();
  for (const auto* list : {pad.before(), pad.after()}) {
    if (ir::Graph::count(list) != 4) return c.fail("before and after need 4 entries each");
    for (int32_t amount : *list) {
      if (amount < 0 || amount > (1 << 24)) return c.fail("padding %d is out of range", amount);
    }
  }
  return ok_status();
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

}  // namespace

const OpRow kReshapeRow = row<fb::Op_Reshape, build_reshape>();
const OpRow kViewRow = row<fb::Op_View, build_view, check_view>();
const OpRow kPermuteRow = row<fb::Op_Permute, build_permute, check_permute>();
const OpRow kRepeatRow = row<fb::Op_Repeat, build_repeat>();
const OpRow kConcatRow = row<fb::Op_Concat, build_concat, check_concat>();
const OpRow kPadRow = row<fb::Op_Pad, build_pad, check_pad>();

}  // namespace etggml::graph
