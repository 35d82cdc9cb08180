// A module with the kernels of one build: see compare.sh.
#include "table.h"

#include "hwy/highway.h"

extern "C" __attribute__((visibility("default"))) KernelTable kernel_table(int lanes) {
  KernelTable table;
  for (const int64_t target : hwy::SupportedAndGeneratedTargets()) {
    hwy::SetSupportedTargetsForTest(target);
    if (etggml::graph::panel_functions().lanes != lanes) continue;
    table.unary = etggml::graph::unary_functions();
    table.softmax = etggml::graph::soft_max_row();
    table.window = etggml::graph::window_functions();
    table.recurrence = etggml::graph::recurrence_functions();
    table.tile = etggml::graph::attention_tile_functions();
    table.block = etggml::graph::attention_block_functions();
    table.panel = etggml::graph::panel_functions();
    break;
  }
  hwy::SetSupportedTargetsForTest(0);
  return table;
}
