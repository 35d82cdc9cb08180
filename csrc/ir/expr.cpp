#include "ir/expr.h"

#include <algorithm>
#include <array>

namespace etggml::ir {
namespace {

Status bad(const char* what, uint32_t at) { return error(ETGGML_FORMAT, "operation %u: %s", at, what); }

/// The hull of op over the corners of two intervals; false on overflow. Right for operations monotone in each argument.
template <class F>
bool corners(Interval a, Interval b, F op, Interval* out) {
  const int64_t as[2] = {a.lo, a.hi}, bs[2] = {b.lo, b.hi};
  bool first = true;
  for (int64_t x : as) {
    for (int64_t y : bs) {
      int64_t r = 0;
      if (!op(x, y, &r)) return false;
      out->lo = first ? r : std::min(out->lo, r);
      out->hi = first ? r : std::max(out->hi, r);
      first = false;
    }
  }
  return true;
}

bool combine(fb::ExprCode code, Interval a, Interval b, Interval* out) {
  switch (code) {
    case fb::ExprCode_Add:
      return corners(
          a, b, [](int64_t x, int64_t y, int64_t* r) { return !__builtin_add_overflow(x, y, r); }, out);
    case fb::ExprCode_Sub:
      return corners(
          a, b, [](int64_t x, int64_t y, int64_t* r) { return !__builtin_sub_overflow(x, y, r); }, out);
    case fb::ExprCode_Mul:
      return corners(
          a, b, [](int64_t x, int64_t y, int64_t* r) { return !__builtin_mul_overflow(x, y, r); }, out);
    case fb::ExprCode_FloorDiv:  // the divisor is >= 1
      return corners(
          a, b, [](int64_t x, int64_t y, int64_t* r) { return *r = floor_div(x, y), true; }, out);
    case fb::ExprCode_CeilDiv:
      return corners(
          a, b, [](int64_t x, int64_t y, int64_t* r) { return *r = ceil_div(x, y), true; }, out);
    case fb::ExprCode_Mod:
      *out = a.lo >= 0 && a.hi < b.lo ? a : Interval{0, b.hi - 1};
      return true;
    case fb::ExprCode_Max:
      *out = {std::max(a.lo, b.lo), std::max(a.hi, b.hi)};
      return true;
    default:  // Min
      *out = {std::min(a.lo, b.lo), std::min(a.hi, b.hi)};
      return true;
  }
}

bool divides(fb::ExprCode code) {
  return code == fb::ExprCode_FloorDiv || code == fb::ExprCode_CeilDiv || code == fb::ExprCode_Mod;
}

}  // namespace

Result<Interval> check_expr(const fb::Expr& expr, const std::vector<int64_t>& symbol_min,
                            const std::vector<int64_t>& symbol_max) {
  const auto* code = expr.code();
  if (!code || code->size() == 0) return error(ETGGML_FORMAT, "is empty");
  if (!aligned8(code)) return error(ETGGML_FORMAT, "is misaligned");
  if (code->size() > kMaxExprOps) {
    return error(ETGGML_FORMAT, "has %u operations, more than the limit of %u", code->size(), kMaxExprOps);
  }
  std::array<Interval, kMaxExprStack> stack;
  uint32_t depth = 0;
  for (uint32_t i = 0; i < code->size(); ++i) {
    const fb::ExprOp* op = code->Get(i);
    const fb::ExprCode c = op->code();
    if (c < fb::ExprCode_MIN || c > fb::ExprCode_MAX) return bad("unknown code", i);
    if (c == fb::ExprCode_Const || c == fb::ExprCode_Symbol) {
      if (depth == kMaxExprStack) return bad("the stack is deeper than the limit", i);
      if (c == fb::ExprCode_Const) {
        stack[depth++] = {op->arg(), op->arg()};
      } else {
        if (op->arg() < 0 || static_cast<uint64_t>(op->arg()) >= symbol_min.size()) return bad("no such symbol", i);
        const size_t s = static_cast<size_t>(op->arg());
        stack[depth++] = {symbol_min[s], symbol_max[s]};
      }
      continue;
    }
    if (depth < 2) return bad("the stack is empty", i);
    const Interval b = stack[--depth];
    if (divides(c) && b.lo < 1) return bad("the divisor can be zero or negative", i);
    if (!combine(c, stack[depth - 1], b, &stack[depth - 1])) return bad("the result can leave 64 bits", i);
  }
  if (depth != 1) return error(ETGGML_FORMAT, "leaves %u numbers instead of one", depth);
  return stack[0];
}

int64_t eval_expr(const fb::Expr& expr, const std::vector<int64_t>& symbols) {
  std::array<int64_t, kMaxExprStack> stack;
  uint32_t depth = 0;
  for (const fb::ExprOp* op : *expr.code()) {
    if (op->code() == fb::ExprCode_Const) {
      stack[depth++] = op->arg();
      continue;
    }
    if (op->code() == fb::ExprCode_Symbol) {
      const size_t s = static_cast<size_t>(op->arg());
      stack[depth++] = s < symbols.size() ? symbols[s] : 0;
      continue;
    }
    const int64_t b = stack[--depth];
    int64_t& a = stack[depth - 1];
    switch (op->code()) {  // the builtins wrap: defined, and unreachable for symbols inside their bounds
      case fb::ExprCode_Add:
        (void)__builtin_add_overflow(a, b, &a);
        break;
      case fb::ExprCode_Sub:
        (void)__builtin_sub_overflow(a, b, &a);
        break;
      case fb::ExprCode_Mul:
        (void)__builtin_mul_overflow(a, b, &a);
        break;
      case fb::ExprCode_FloorDiv:
        a = b < 1 ? 0 : floor_div(a, b);
        break;
      case fb::ExprCode_CeilDiv:
        a = b < 1 ? 0 : ceil_div(a, b);
        break;
      case fb::ExprCode_Mod:
        a = b < 1 ? 0 : floor_mod(a, b);
        break;
      case fb::ExprCode_Max:
        a = std::max(a, b);
        break;
      default:
        a = std::min(a, b);
        break;
    }
  }
  return stack[0];
}

bool affine_in(const fb::Expr& expr, uint32_t symbol, Affine* out) {
  std::array<Affine, kMaxExprStack> stack;
  uint32_t depth = 0;
  for (const fb::ExprOp* op : *expr.code()) {
    if (op->code() == fb::ExprCode_Const) {
      stack[depth++] = {0, op->arg()};
      continue;
    }
    if (op->code() == fb::ExprCode_Symbol) {
      if (op->arg() != static_cast<int64_t>(symbol)) return false;
      stack[depth++] = {1, 0};
      continue;
    }
    const Affine b = stack[--depth];
    Affine& a = stack[depth - 1];
    bool overflow = false;
    if (op->code() == fb::ExprCode_Add) {
      overflow =
          __builtin_add_overflow(a.scale, b.scale, &a.scale) | __builtin_add_overflow(a.offset, b.offset, &a.offset);
    } else if (op->code() == fb::ExprCode_Sub) {
      overflow =
          __builtin_sub_overflow(a.scale, b.scale, &a.scale) | __builtin_sub_overflow(a.offset, b.offset, &a.offset);
    } else if (op->code() == fb::ExprCode_Mul && (a.scale == 0 || b.scale == 0)) {
      const int64_t factor = a.scale == 0 ? a.offset : b.offset;
      const Affine other = a.scale == 0 ? b : a;
      overflow = __builtin_mul_overflow(other.scale, factor, &a.scale) |
                 __builtin_mul_overflow(other.offset, factor, &a.offset);
    } else {
      return false;
    }
    if (overflow) return false;
  }
  if (stack[0].scale <= 0) return false;
  *out = stack[0];
  return true;
}

}  // namespace etggml::ir
