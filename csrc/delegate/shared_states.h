// Which delegates share states under a stock ExecuTorch runtime, where no etggml_program holds them together.
#pragma once

#include <executorch/runtime/core/named_data_map.h>

#include <memory>
#include <string>

#include "engine/context.h"
#include "ir/graph.h"

namespace etggml::delegate {

/// Delegates of the methods of one loaded program get one store of states: `context->states` is replaced by it. A
/// program is known by its named data, in which the exporter of several methods leaves a mark. A method that is loaded
/// twice has two sets of states, as it has two sets of ExecuTorch's memory. The result is to be kept as long as the
/// delegate; null when there is nothing to share.
std::shared_ptr<void> share_states(const executorch::runtime::NamedDataMap* map, const std::string& method,
                                   const ir::Graph& ir_graph, engine::Context* context);

}  // namespace etggml::delegate
