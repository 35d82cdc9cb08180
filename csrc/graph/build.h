// IR -> ggml graph: a row for each operator (graph/op_row.h), no pattern matching and no cleverness.
//
// ggml's builders and CPU kernels abort the process when a precondition does not hold, and ggml-cpu's supports_op says
// yes to nearly everything. So each function here checks the preconditions of the builder AND of the kernel first.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "device_rules/device_probe.h"
#include "devices/contexts.h"
#include "ggml.h"
#include "ir/graph.h"
#include "kernels/kernels.h"
#include "util/status.h"

namespace etggml::graph {

/// Tensors that have memory (data and buffer) already, owned by the caller; called at most once per leaf node, only for
/// live nodes. nullptr is answered with ETGGML_INTERNAL. Shapes must be those of the slots and memory packed; types are
/// checked where they are used. Give them names: building a graph names unnamed ones, the only thing that is ever
/// written to them.
struct Leaves {
  virtual ~Leaves() = default;
  virtual ggml_tensor* weight(uint32_t slot) = 0;
  virtual ggml_tensor* state(uint32_t slot) = 0;
  virtual ggml_tensor* constant(uint32_t index) = 0;
};

/// A tensor the runtime fills before every compute (ggml may reuse its memory after its last reader):
/// InputLeaf, CausalMask or Fill. See host_fill.h.
struct HostInput {
  ggml_tensor* tensor = nullptr;
  uint32_t node = 0;
  int64_t index_limit = INT64_MAX;  // integer contents must be in [0, index_limit): they index rows somewhere
};

struct Built {
  devices::TensorContexts tensors;  // all but the caller's
  ggml_context* spare = nullptr;    // with space for kSpareTensors more
  ggml_cgraph* graph = nullptr;
  std::vector<ggml_tensor*> values;  // by node; nullptr for nodes nothing needs
  std::vector<HostInput> host_inputs;
  std::vector<ggml_tensor*> outputs;  // by Graph.outputs; contiguous, flagged as outputs; may be a leaf or a state
  uint32_t peak_live = 0;             // most tensors that hold allocated memory at one time
};

/// ggml_gallocr aborts the process when its free list has 256 holes, which takes as many tensors alive at one time.
constexpr uint32_t kMaxSharedTensors = 240;

struct BuildOptions {
  /// nullptr: ggml-cpu. Other devices are asked for each node. A rejected node is built in another form that the device
  /// runs (graph/adapt.h). If there is none, it stays, and the caller asks for every node of the finished graph.
  const device_rules::DeviceProbe* device = nullptr;
  kernels::Kernels* kernels = nullptr;  // asked before ggml's are used; nullptr for ggml's only
  /// Graphs with more values alive at one time are refused (ETGGML_UNSUPPORTED). UINT32_MAX for an allocator that gives
  /// every tensor memory of its own.
  uint32_t max_live = kMaxSharedTensors;
};

/// Tensors and nodes that the caller may add to a finished graph (graph/fusion).
constexpr size_t kSpareTensors = 4;

/// Builds the graph for one binding of the symbols, nodes in IR order. Never aborts. Errors name the payload, node and
/// op:
///   - ETGGML_FORMAT: the graph breaks a rule;
///   - ETGGML_SHAPE: these symbols break it;
///   - ETGGML_UNSUPPORTED: a type that the device cannot use there, a weight's in the GGUF or the cache type;
///   - ETGGML_INTERNAL: a Leaves that misbehaves;
///   - ETGGML_OUT_OF_MEMORY.
Result<Built> build(const ir::Graph& ir_graph, const std::vector<int64_t>& symbols, Leaves& leaves,
                    const BuildOptions& options);

}  // namespace etggml::graph
