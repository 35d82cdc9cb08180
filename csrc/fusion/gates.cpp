#include "fusion/gates.h"

#include <algorithm>
#include <cmath>
#include <unordered_map>

#include "device_rules/node_params.h"

namespace etggml::fusion {
namespace {

using cuda::MatVecDesc;

bool close(float a, double b) { return std::fabs(a - b) <= 1e-6 * std::fabs(b); }

/// GELU by tanh as the builder writes it: x * sigmoid((a x^2 + b) x), see graph/follow.h.
bool is_gelu(const ggml_tensor* node, ggml_tensor** x, std::vector<const ggml_tensor*>* inside) {
  if (node->op != GGML_OP_MUL) return false;
  for (const int side : {1, 0}) {
    ggml_tensor *sigmoid = node->src[side], *value = node->src[1 - side];
    if (sigmoid->op != GGML_OP_UNARY || ggml_get_unary_op(sigmoid) != GGML_UNARY_OP_SIGMOID) continue;
    const ggml_tensor* cubic = sigmoid->src[0];
    if (cubic->op != GGML_OP_MUL || cubic->src[0]->op != GGML_OP_SCALE || cubic->src[1] != value) continue;
    const ggml_tensor *scale = cubic->src[0], *square = scale->src[0];
    if (square->op != GGML_OP_SQR || square->src[0] != value) continue;
    const device_rules::ScaleParams factors = device_rules::scale_params(scale);
    const double root = 2.0 * std::sqrt(2.0 / 3.14159265358979323846);
    if (!close(factors.factor, 0.044715 * root) || !close(factors.bias, root)) continue;
    *x = value;
    *inside = {square, scale, cubic, sigmoid, node};
    return true;
  }
  return false;
}

MatVecDesc::Glu activation(ggml_tensor* node, ggml_tensor** x, std::vector<const ggml_tensor*>* inside) {
  if (is_gelu(node, x, inside)) return MatVecDesc::Geglu;
  if (node->op != GGML_OP_UNARY) return MatVecDesc::None;
  *x = node->src[0];
  *inside = {node};
  switch (ggml_get_unary_op(node)) {
    case GGML_UNARY_OP_SILU:
      return MatVecDesc::Swiglu;
    case GGML_UNARY_OP_GELU:
      return MatVecDesc::Geglu;
    default:
      return MatVecDesc::None;
  }
}

using ByOut = std::unordered_map<const ggml_tensor*, size_t>;

/// Rows of a product's result.
struct Range {
  int product = -1;
  int64_t first_row = 0, rows = 0;
};

/// `source` as rows of a plain product's result, of all columns.
Range rows_of(const std::vector<Product>& products, const ByOut& by_out, ggml_tensor* source) {
  const auto it = by_out.find(behind_views(source));
  if (it == by_out.end() || source->type != GGML_TYPE_F32 || source->nb[0] != sizeof(float)) return {};
  const MatVecDesc& desc = products[it->second].desc;
  const MatVecDesc::Segment& all = desc.segment[0];
  if (desc.segments != 1 || desc.glu != MatVecDesc::None || all.residual != nullptr) return {};
  const int64_t rows = source->ne[0], first = offset_in_memory(source);
  if (ggml_nelements(source) != rows * desc.columns || first + rows > all.rows) return {};
  // Columns may be in any of the outer dimensions, one result apart.
  int64_t before = 1;
  for (int axis = 1; axis < GGML_MAX_DIMS; ++axis) {
    const auto apart = static_cast<size_t>(before * all.rows) * sizeof(float);
    if (source->ne[axis] > 1 && source->nb[axis] != apart) return {};
    before *= source->ne[axis];
  }
  return {static_cast<int>(it->second), first, rows};
}

MatVecDesc::Segment segment_of(const MatVecDesc& desc, const Range& range) {
  MatVecDesc::Segment segment = desc.segment[0];
  segment.first_row += range.first_row;
  segment.rows = range.rows;
  segment.out = nullptr;
  return segment;
}

}  // namespace

Unit gated_unit(ggml_tensor* node) {
  Unit unit;
  if (node->op == GGML_OP_GLU && !device_rules::glu_swapped(node)) {
    const ggml_glu_op op = ggml_get_glu_op(node);
    unit.kind = op == GGML_GLU_OP_SWIGLU  ? MatVecDesc::Swiglu
                : op == GGML_GLU_OP_GEGLU ? MatVecDesc::Geglu
                                          : MatVecDesc::None;
    unit.gate = node->src[0];
    unit.up = node->src[1];
    unit.inside = {node};
  } else if (node->op == GGML_OP_MUL) {
    for (const int side : {0, 1}) {
      ggml_tensor* value = nullptr;
      const MatVecDesc::Glu kind = activation(node->src[side], &value, &unit.inside);
      if (kind == MatVecDesc::None || !ggml_are_same_shape(node->src[0], node->src[1])) continue;
      unit.kind = kind;
      unit.gate = value;
      unit.up = node->src[1 - side];
      unit.inside.push_back(node);
      break;
    }
  }
  return unit;
}

bool closed(const Unit& unit, const Readers& readers) {
  auto inside = [&](const ggml_tensor* t) {
    return std::find(unit.inside.begin(), unit.inside.end(), t) != unit.inside.end();
  };
  auto only_inside = [&](const ggml_tensor* t) {
    const std::vector<ggml_tensor*>& all = readers.of(t);
    return !readers.outside(t) && std::all_of(all.begin(), all.end(), inside);
  };
  return std::all_of(unit.inside.begin(), unit.inside.end() - 1, only_inside) && only_inside(behind_views(unit.gate)) &&
         (unit.up == nullptr || only_inside(behind_views(unit.up)));
}

void take_gates(const std::vector<ggml_tensor*>& nodes, const Readers& readers, const KernelSupport& support,
                std::vector<Product>* products, std::vector<bool>* taken) {
  ByOut by_out;
  for (size_t i = 0; i < products->size(); ++i) by_out.emplace((*products)[i].outs[0], i);
  for (ggml_tensor* node : nodes) {
    const Unit unit = gated_unit(node);
    if (unit.kind == MatVecDesc::None || !dense_f32(node) || !closed(unit, readers)) continue;
    Range gate = rows_of(*products, by_out, unit.gate), up;
    if (gate.product < 0) continue;
    if (unit.up == nullptr) {
      if (gate.rows % 2 != 0) continue;
      gate.rows /= 2;
      up = {gate.product, gate.first_row + gate.rows, gate.rows};
    } else {
      up = rows_of(*products, by_out, unit.up);
    }
    if (up.product < 0 || up.rows != gate.rows || (up.product == gate.product && up.first_row == gate.first_row))
      continue;
    const auto first = static_cast<size_t>(gate.product), second = static_cast<size_t>(up.product);
    // A bias has no rows of its own to begin at.
    const bool parts = gate.rows != (*products)[first].desc.segment[0].rows;
    if (parts &&
        ((*products)[first].desc.segment[0].bias != nullptr || (*products)[second].desc.segment[0].bias != nullptr))
      continue;
    Product fused = (*products)[first];
    if (!same_columns(fused.desc, (*products)[second].desc)) continue;
    fused.desc.segment[0] = segment_of((*products)[first].desc, gate);
    fused.desc.segment[1] = segment_of((*products)[second].desc, up);
    fused.desc.segments = 2;
    fused.desc.glu = unit.kind;
    fused.desc.segment[0].out = node;
    if (!support.supports(fused.desc)) continue;
    fused.outs = {node};
    if (first != second) fused.products.push_back((*products)[second].products[0]);
    (*taken)[first] = true;
    (*taken)[second] = true;
    products->push_back(fused);
    taken->push_back(false);
  }
}

}  // namespace etggml::fusion
