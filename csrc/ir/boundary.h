// Which torch types may enter a graph as which ggml types. The conversions themselves: graph/host_fill.h.
#pragma once

#include <cstdint>

#include "ggml.h"
#include "ir/graph.h"

namespace etggml::ir {

/// The torch dtype in which an input's contents arrive: its own for a tensor, int64 / double / bool for scalars.
int32_t boundary_dtype(const fb::Input& input);

/// Whether contents of torch dtype `dtype` can be stored as `type`:
///   - anything as F32, F16 or BF16;
///   - integers and booleans as I8..I64 (checked on upload);
///   - booleans as an additive mask (`mask`: false/true -> -inf/0) in F16 or F32.
bool can_convert(int32_t dtype, ggml_type type, bool mask);

}  // namespace etggml::ir
