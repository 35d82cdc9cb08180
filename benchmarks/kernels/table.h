// The functions of our CPU kernels that run between two looks at a graph, as one build of the library has them.
#pragma once

#include "kernels/attention_block.h"
#include "kernels/attention_tile.h"
#include "kernels/panel.h"
#include "kernels/recurrence.h"
#include "kernels/softmax.h"
#include "kernels/unary.h"
#include "kernels/window.h"

struct KernelTable {
  etggml::graph::UnaryFunctions unary;
  etggml::graph::SoftMaxRow softmax = nullptr;
  etggml::graph::WindowFunctions window;
  etggml::graph::RecurrenceFunctions recurrence;
  etggml::graph::AttentionTileFunctions tile;
  etggml::graph::AttentionBlockFunctions block;
  etggml::graph::PanelFunctions panel;
};

/// For registers of `lanes` floats; empty functions where this build or CPU has none.
extern "C" KernelTable kernel_table(int lanes);
