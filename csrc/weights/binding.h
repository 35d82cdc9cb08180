// Which data belongs to which weight slot of a graph, checked before anything is loaded.
#pragma once

#include <array>
#include <memory>
#include <string>
#include <vector>

#include "ggml.h"
#include "gguf/file_set.h"
#include "ir/graph.h"
#include "weights/named_data.h"
#include "weights/report.h"

namespace etggml::weights {

/// Where weights are looked for, in this order. Null members are skipped.
struct Sources {
  std::shared_ptr<const gguf::FileSet> files;                 ///< given with the program
  const NamedData* named = nullptr;                           ///< in the .pte / .ptd
  std::vector<std::shared_ptr<const gguf::FileSet>> process;  ///< registered for the whole process
};

/// One piece of a weight.
struct Part {
  std::string key;
  ggml_type type = GGML_TYPE_F32;
  const void* data = nullptr;
  size_t nbytes = 0;
  std::shared_ptr<const gguf::FileSet> files;  ///< set when the data lies in a GGUF
  uint32_t shard = 0;
  std::shared_ptr<const void> owner;  ///< set when it comes from the .pte / .ptd
};

/// A slot with its data found and checked.
struct BoundSlot {
  uint32_t slot = 0;
  std::string name;
  std::array<int64_t, 4> ne{1, 1, 1, 1};
  std::vector<Part> parts;         ///< in order along the slowest dimension
  ggml_type type = GGML_TYPE_F32;  ///< the type in the graph (after the cast, if any)
  bool cast = false;               ///< some part has another type
};

/// Slots that live nodes of the graph read, in ascending order.
std::vector<uint32_t> used_slots(const ir::Graph& ir_graph);

/// Finds and checks every used slot; problems go to `report`, slots without problems to the result. on_cpu: the types
/// must suit ggml's CPU kernels (other devices are asked when the graph is built). Only I/O failures of a source are an
/// error Status.
Result<std::vector<BoundSlot>> bind_weights(const ir::Graph& ir_graph, const Sources& sources, bool on_cpu,
                                            Report* report);

}  // namespace etggml::weights
