// Dimension expressions: postfix code over named symbols, evaluated exactly and over intervals.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "ir/graph.h"
#include "util/status.h"

namespace etggml::ir {

/// Whether the elements of a vector of 8-byte things can be read in place. FlatBuffers' verifier checks the alignment
/// of scalars and offsets, but not that of vector elements.
template <class V>
bool aligned8(const V* vector) {
  return reinterpret_cast<uintptr_t>(vector->Data()) % 8 == 0;
}

struct Interval {
  int64_t lo = 0, hi = 0;
};

/// Floor division and its kin for a positive divisor.
inline int64_t floor_div(int64_t a, int64_t b) { return a / b - (a % b < 0); }
inline int64_t floor_mod(int64_t a, int64_t b) { return a % b < 0 ? a % b + b : a % b; }
inline int64_t ceil_div(int64_t a, int64_t b) { return a / b + (a % b > 0); }

/// The range of `expr` over the box of the symbols' bounds. The code must be well formed: known codes, bounded stack,
/// one result. Every divisor must be >= 1 everywhere in the box, and no intermediate result may leave int64. A failure
/// has a message that starts after "expression 3: ".
Result<Interval> check_expr(const fb::Expr& expr, const std::vector<int64_t>& symbol_min,
                            const std::vector<int64_t>& symbol_max);

/// The value of a checked expression. Symbols outside the box give some number, never undefined behaviour.
int64_t eval_expr(const fb::Expr& expr, const std::vector<int64_t>& symbols);

/// Whether `expr` is scale * s + offset in the one symbol `symbol`, scale > 0. `expr` must have passed check_expr.
bool affine_in(const fb::Expr& expr, uint32_t symbol, Affine* out);

}  // namespace etggml::ir
