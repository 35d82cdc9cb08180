// Copies: Cpy into a state, Cast to a type, Cont to packed memory. One set of rules, that of ggml-cpu's dup kernels.
#include "graph/adapt.h"
#include "graph/op_row.h"

namespace etggml::graph {
namespace {

using ll = long long;

bool packed_rows(const ggml_tensor* t) { return t->nb[0] == ggml_type_size(t->type); }

/// Whether `from` can be copied into memory of type `to`, shape `ne`, packed or (Cpy) laid out as `destination`.
Status copyable(const NodeBuilder& b, const ggml_tensor* from, ggml_type to, const Shape& ne,
                const ggml_tensor* destination) {
  ETGGML_RETURN_IF_ERROR(b.elements_in_int());
  const bool quantized_from = ggml_is_quantized(from->type), quantized_to = ggml_is_quantized(to);
  const bool packed = !destination || ggml_is_contiguous(destination);
  const bool rows = !destination || packed_rows(destination);
  const bool same_shape = shape_of(from) == ne;
  if (from->type == to) {
    if (!quantized_from) return ok_status();
    if (ggml_is_contiguous(from) && packed_rows(from) && packed && rows) return ok_status();
    if (same_shape && packed_rows(from) && rows) return ok_status();
    return b.type_problem(0, "blocks can only be copied row by row between equal shapes");
  }
  if (devices::is_float(from->type) && devices::is_float(to)) return ok_status();
  if ((from->type == GGML_TYPE_F32 && to == GGML_TYPE_I32) || (from->type == GGML_TYPE_I32 && to == GGML_TYPE_F32)) {
    return ok_status();
  }
  if (devices::is_float(from->type) && quantized_to && devices::cpu_can_write(to)) {
    if (same_shape && packed_rows(from) && packed && rows && ne[0] % ggml_blck_size(to) == 0) return ok_status();
    return b.unsupported("writing %s needs contiguous memory and rows of whole blocks; rows have %lld elements",
                         ggml_type_name(to), static_cast<ll>(ne[0]));
  }
  if (quantized_from && to == GGML_TYPE_F32 && devices::cpu_can_multiply(from->type)) {
    if (packed_rows(from) && rows && (packed || ne[0] % ggml_blck_size(from->type) == 0)) return ok_status();
    return b.type_problem(0, "reading it needs whole rows on both sides");
  }
  return b.type_problem(0, format("it cannot be copied to %s", ggml_type_name(to)).c_str());
}

/// A quantised matrix as F32, by reading every row of it: for devices that have no copy from its type.
Result<ggml_tensor*> read_rows(NodeBuilder& b, ggml_tensor* x) {
  if (!ggml_is_contiguous(x)) return b.type_problem(0, "the device reads it as whole matrices only");
  ggml_context* ctx = b.ctx();
  const Shape ne = shape_of(x);
  const int64_t rows = ggml_nrows(x);
  if (rows > (1 << 24)) return b.type_problem(0, "the device cannot count so many rows");
  ggml_tensor* ids = ggml_cast(ctx, ggml_arange(ctx, 0.0f, static_cast<float>(rows), 1.0f), GGML_TYPE_I32);
  ggml_tensor* y = ggml_get_rows(ctx, ggml_reshape_2d(ctx, x, ne[0], rows), ids);
  return ggml_reshape_4d(ctx, y, ne[0], ne[1], ne[2], ne[3]);
}

Result<ggml_tensor*> build_cpy(NodeBuilder& b) {
  ggml_tensor* from = b.src(0);
  ggml_tensor* to = b.src(1);
  if (ggml_nelements(from) != ggml_nelements(to)) {
    return b.fail("%lld elements copied over %lld", static_cast<ll>(ggml_nelements(from)),
                  static_cast<ll>(ggml_nelements(to)));
  }
  ETGGML_RETURN_IF_ERROR(b.result_shape(shape_of(to)));
  ETGGML_RETURN_IF_ERROR(copyable(b, from, to->type, shape_of(to), to));
  return adapt(b, {from}, [to](ggml_context* ctx, const Sources& s) { return ggml_cpy(ctx, s[0], to); });
}

Result<ggml_tensor*> build_cast(NodeBuilder& b) {
  if (b.type() == GGML_TYPE_COUNT) return b.fail("type must be known");
  ETGGML_RETURN_IF_ERROR(b.result_shape(shape_of(b.src(0))));
  if (b.ne()[0] % ggml_blck_size(b.type()) != 0) {
    return b.fail("rows of %lld elements are not whole blocks of %s", static_cast<ll>(b.ne()[0]),
                  ggml_type_name(b.type()));
  }
  ETGGML_RETURN_IF_ERROR(copyable(b, b.src(0), b.type(), b.ne(), nullptr));
  const ggml_type type = b.type();
  const Make cast = [type](ggml_context* ctx, const Sources& s) { return ggml_cast(ctx, s[0], type); };
  if (ggml_is_quantized(b.src(0)->type) && !device_runs(b, {b.src(0)}, cast)) return read_rows(b, b.src(0));
  return adapt(b, {b.src(0)}, cast);
}

Result<ggml_tensor*> build_cont(NodeBuilder& b) {
  ETGGML_RETURN_IF_ERROR(b.result_shape(shape_of(b.src(0))));
  ETGGML_RETURN_IF_ERROR(copyable(b, b.src(0), b.src(0)->type, b.ne(), nullptr));
  return adapt(b, {b.src(0)}, [](ggml_context* ctx, const Sources& s) { return ggml_cont(ctx, s[0]); });
}

}  // namespace

const OpRow kCpyRow = row<fb::Op_Cpy, build_cpy>();
const OpRow kCastRow = row<fb::Op_Cast, build_cast>();
const OpRow kContRow = row<fb::Op_Cont, build_cont>();

}  // namespace etggml::graph
