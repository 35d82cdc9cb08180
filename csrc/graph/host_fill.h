// Filling the host inputs of a graph: InputLeaf (torch dtype -> ggml type), CausalMask and Fill.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "graph/build.h"
#include "ir/graph.h"
#include "util/status.h"

namespace etggml::graph {

/// Writes the contents of one host input into `dst` (at least ggml_nbytes(input.tensor) bytes; for a CPU tensor its own
/// data, else a staging buffer). `inputs` are those that bind() accepted, with data; `symbols` are those that the graph
/// was built for. An input without elements becomes zeros. ETGGML_RANGE: an integer does not fit the graph's type, or
/// indexes a row that does not exist; the message names the input, the element and the limit. ETGGML_INVALID_ARGUMENT:
/// an input without data.
Status fill_host_input(const ir::Graph& ir_graph, const HostInput& input, const ir::InputView* inputs, size_t n_inputs,
                       const std::vector<int64_t>& symbols, void* dst, size_t dst_bytes);

/// The caller's memory where fill_host_input() would do nothing but copy it; nullptr otherwise, and for a wrong input.
const void* host_input_as_it_is(const ir::Graph& ir_graph, const HostInput& input, const ir::InputView* inputs,
                                size_t n_inputs, const std::vector<int64_t>& symbols);

/// `count` elements of torch dtype `dtype` at `src` -> ggml `type` at `dst`. mask: bool false/true -> -inf/0.
/// Integers must be in [0, limit) when limit is not INT64_MAX. `name` is how messages call the source.
/// ETGGML_RANGE as above; ETGGML_UNSUPPORTED for a pair of types without a conversion (see ir::can_convert).
Status convert(int32_t dtype, const void* src, int64_t count, ggml_type type, bool mask, int64_t limit,
               const char* name, void* dst);

/// F16 [n_kv, n]: 0 where key j <= positions[i] and (window == 0 or positions[i] - j < window), else -inf.
/// positions: int32 or int64 (dtype 3 or 4), n of them.
void fill_causal_mask(const void* positions, int32_t dtype, int64_t n, int64_t n_kv, int64_t window, uint16_t* dst);

}  // namespace etggml::graph
