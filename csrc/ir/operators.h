// Facts about operators that the schema states (attributes in schema/ggml_ir.fbs; cmake/ir_operators.py).
#pragma once

#include <cstdint>
#include <iterator>

#include "ggml_ir_generated.h"
#include "ggml_ir_operators.h"

namespace etggml::ir {

/// Instead of the number of a source.
constexpr int8_t kNoSource = -1, kAllSources = -2, kCaller = -3;

struct OperatorFacts {
  uint8_t least_sources = 0, most_sources = 0;
  int8_t memory = kNoSource;   // the result lies in memory of this source, or of kCaller
  int8_t type_of = kNoSource;  // the result has the type of this source, decided by a file or not
  bool writes = false;         // to that memory
  int8_t moves = kNoSource;    // the result holds the elements of this source, or of kAllSources, in other places
  int8_t row_numbers = kNoSource, axis = 0;  // the source of numbers of rows; the dimension of source 0 they count
  int8_t places = kNoSource;                 // the result's numbers are places in rows of this source
  bool has_fields = false;
};

namespace detail {
inline constexpr OperatorFacts kFacts[] = {{},  // NONE
#define ETGGML_FACTS(name, ...) {__VA_ARGS__},
                                           ETGGML_IR_OPERATORS(ETGGML_FACTS)
#undef ETGGML_FACTS
};
static_assert(std::size(kFacts) == ::executorch_ggml::ggml_ir::Op_MAX + 1, "one row for a member of the union");
}  // namespace detail

/// Of an operator that this reader knows.
constexpr const OperatorFacts& facts_of(::executorch_ggml::ggml_ir::Op op) { return detail::kFacts[op]; }

}  // namespace etggml::ir
