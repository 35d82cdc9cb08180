// GGML_DEBUG_DUMP: the built graph as text.
#pragma once

#include <string>

#include "engine/plan.h"

namespace etggml::engine {

/// Appends the plan's nodes (ggml op, type, shape, strides, sources, IR node) to the file GGML_DEBUG_DUMP names; "1"
/// means "ggml_dump.txt" in the working directory. Does nothing when the variable is unset. Failure to write is logged,
/// not an error.
void dump_plan(const Plan& plan, const ir::Graph& ir_graph);

/// The text itself.
std::string plan_text(const Plan& plan, const ir::Graph& ir_graph);

}  // namespace etggml::engine
