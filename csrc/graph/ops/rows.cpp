// Reading and writing rows by number.
#include "graph/adapt.h"
#include "graph/op_row.h"

namespace etggml::graph {
namespace {

Result<ggml_tensor*> build_get_rows(NodeBuilder& b) {
  ggml_tensor* table = b.src(0);
  ggml_tensor* ids = b.src(1);
  if (!devices::can_get_rows(table->type)) return b.type_problem(0, "rows of this type cannot be read");
  ETGGML_RETURN_IF_ERROR(b.dense_rows(0));
  ETGGML_RETURN_IF_ERROR(b.type_in(1, {GGML_TYPE_I32}));
  if (table->ne[2] != ids->ne[1] || table->ne[3] != ids->ne[2] || ids->ne[3] != 1) {
    return b.fail("ids of shape %s for a table of shape %s", shape_text(shape_of(ids)).c_str(),
                  shape_text(shape_of(table)).c_str());
  }
  ETGGML_RETURN_IF_ERROR(b.result_shape({table->ne[0], ids->ne[0], ids->ne[1], ids->ne[2]}));
  if (kernels::Kernels* kernels = b.options().kernels) {
    if (ggml_tensor* ours = kernels->get_rows(b.ctx(), table, ids)) return ours;
  }
  // Numbers of rows are I32 and stay so: only packing them is another form.
  const Make read = [=](ggml_context* ctx, const Sources& s) { return ggml_get_rows(ctx, table, s[0]); };
  if (!device_runs(b, {ids}, read) && !ggml_is_contiguous(ids)) ids = ggml_cont(b.ctx(), ids);
  return read(b.ctx(), {ids});
}

Result<ggml_tensor*> build_set_rows(NodeBuilder& b) {
  ggml_tensor* table = b.src(0);
  ggml_tensor* values = b.src(1);
  ggml_tensor* ids = b.src(2);
  if (!devices::cpu_can_write(table->type)) return b.type_problem(0, "rows of this type cannot be written");
  ETGGML_RETURN_IF_ERROR(b.dense_rows(0));
  ETGGML_RETURN_IF_ERROR(b.type_in(1, {GGML_TYPE_F32, GGML_TYPE_F16}));
  ETGGML_RETURN_IF_ERROR(b.dense_rows(1));
  ETGGML_RETURN_IF_ERROR(b.type_in(2, {GGML_TYPE_I64, GGML_TYPE_I32}));
  if (table->ne[0] != values->ne[0] || table->ne[2] != values->ne[2] || table->ne[3] != values->ne[3] ||
      values->ne[1] != ids->ne[0] || values->ne[2] % ids->ne[1] != 0 || values->ne[3] % ids->ne[2] != 0 ||
      ids->ne[3] != 1) {
    return b.fail("values of shape %s at ids of shape %s do not fit a destination of shape %s",
                  shape_text(shape_of(values)).c_str(), shape_text(shape_of(ids)).c_str(),
                  shape_text(shape_of(table)).c_str());
  }
  ETGGML_RETURN_IF_ERROR(b.result_shape(shape_of(table)));
  return adapt(b, {values}, [=](ggml_context* ctx, const Sources& s) { return ggml_set_rows(ctx, table, s[0], ids); });
}

}  // namespace

const OpRow kGetRowsRow = row<fb::Op_GetRows, build_get_rows>();
const OpRow kSetRowsRow = row<fb::Op_SetRows, build_set_rows>();

}  // namespace etggml::graph
