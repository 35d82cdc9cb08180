// A delegate payload (GGIR FlatBuffer) that has been verified from end to end.
//
// A payload is untrusted bytes, and ggml aborts the process on a bad graph. So Graph::parse proves once everything
// that the rest of the runtime relies on. After it, walking the graph needs no bounds checks, expressions cannot
// overflow or divide by zero, and every reference exists. check_shapes() and graph::build() check exactly the rules
// that depend on the actual weight types or the symbols' values.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "ggml_ir_generated.h"
#include "ir/operators.h"
#include "util/status.h"

namespace etggml::ir {

namespace fb = ::executorch_ggml::ggml_ir;

/// The newest payload version this reader understands. A payload with a min_reader above it is refused.
constexpr uint32_t kReaderVersion = ETGGML_IR_VERSION;

/// Limits of a payload. Far above any real graph, low enough that no allocation or loop driven by a payload hurts.
constexpr size_t kMaxPayloadBytes = (size_t{1} << 31) - 64;  // FlatBuffers offsets are 32 bits, signed
constexpr uint32_t kMaxNodes = 100000;
constexpr uint32_t kMaxSymbols = 256;
constexpr uint32_t kMaxExprs = 65536;
constexpr uint32_t kMaxExprOps = 256;
constexpr uint32_t kMaxExprStack = 32;
constexpr uint32_t kMaxShapes = 200000;
constexpr uint32_t kMaxBoundary = 4096;  // inputs, outputs
constexpr uint32_t kMaxSlots = 65536;    // weights, states, constants
constexpr uint32_t kMaxParts = 64;       // of a weight
constexpr uint32_t kMaxKeys = 16;        // alternatives for a part
constexpr uint32_t kMaxRank = 16;        // torch order; a delegate tensor may have more dimensions than ggml's 4
constexpr uint32_t kMaxName = 1024;      // bytes
constexpr int64_t kMaxElements = int64_t{1} << 40;
constexpr int64_t kMaxDim = INT32_MAX;  // ggml's kernels count columns, and rows, in int
constexpr int64_t kMaxSteps = 16384;    // of a recurrence: other devices get nodes for each
constexpr int64_t kMaxSymbolValue = int64_t{1} << 40;

/// One actual argument of a call, in torch order. Non-owning.
struct InputView {
  fb::InputKind kind = fb::InputKind_Tensor;
  int32_t dtype = 0;              // torch ScalarType number; Tensor only
  int32_t rank = 0;               // Tensor only
  const int64_t* dims = nullptr;  // rank entries; Tensor only
  const void* data = nullptr;     // row-major contiguous host memory; int64_t / double / bool for the other kinds
};

/// "node 17 (MulMat)": how messages name a node; leaves add their own name.
std::string node_name(const fb::Graph& graph, uint32_t node);

/// The input dimension that a FromInputDim symbol s comes from is scale * s + offset.
struct Affine {
  int64_t scale = 1, offset = 0;
};

/// Node `user` indexes along axis `axis` of node `table` with integers of class `group`.
struct IndexUse {
  uint32_t group, user, table, axis;
};

/// Where integers of class `group` come from, other than inputs. The values of node `node` are at most `max`
/// (constants), or below the row length of node `row_of` (places in rows).
struct IndexSource {
  uint32_t group, node;
  int64_t max;
  uint32_t row_of;  // UINT32_MAX: a constant
};

class NodeCheck;
/// Judges the fields of a node, as far as that can be done without its tensors. ETGGML_FORMAT.
using FieldCheck = Status (*)(const NodeCheck&);
/// The check of each operator, nullptr for one without fields.
using FieldChecks = std::array<FieldCheck, fb::Op_MAX + 1>;

/// A verified payload: owns a copy of the bytes, immutable, safe to use from many threads.
class Graph {
 public:
  /// Verifies `size` bytes at `data` (copied). ETGGML_FORMAT when they are not a well-formed graph, ETGGML_UNSUPPORTED
  /// when they need a newer reader. `origin` is the name of the payload in messages ("model.pte, method forward").
  /// `checks`: graph::field_checks().
  static Result<std::shared_ptr<const Graph>> parse(const void* data, size_t size, std::string origin,
                                                    const FieldChecks& checks);

  Graph(const Graph&) = delete;
  Graph& operator=(const Graph&) = delete;

  const fb::Graph& payload() const { return *payload_; }
  const std::string& origin() const { return origin_; }

  uint32_t node_count() const { return payload_->nodes()->size(); }
  const fb::Node& node(uint32_t index) const { return *payload_->nodes()->Get(index); }

  uint32_t input_count() const { return count(payload_->inputs()); }
  uint32_t output_count() const { return count(payload_->outputs()); }
  uint32_t weight_count() const { return count(payload_->weights()); }
  uint32_t state_count() const { return count(payload_->states()); }
  uint32_t constant_count() const { return count(payload_->constants()); }
  /// Vectors of the schema may be absent; these counts (0 then) are the safe way to loop.
  template <class V>
  static uint32_t count(const V* vector) {
    return vector ? vector->size() : 0;
  }

  uint32_t symbol_count() const { return static_cast<uint32_t>(symbol_min_.size()); }
  /// Inclusive bounds of every symbol; both are valid bindings as far as parse() could prove (see check_shapes). A
  /// symbol that is a dimension of an input starts at 1 even if the payload says 0: ggml has no empty tensors (see
  /// stand_in).
  const std::vector<int64_t>& lower_bounds() const { return symbol_min_; }
  const std::vector<int64_t>& upper_bounds() const { return symbol_max_; }

  /// False for an input that nothing in the graph reads (its contents need not be there; its shape is checked anyway).
  bool input_used(uint32_t input) const { return input_used_[input]; }
  /// True for a node that an output or a state update needs. Other nodes are not built.
  bool live(uint32_t node) const { return live_[node]; }

  /// Values of the symbols for a call: from the inputs' shapes, integer contents and Int arguments. Checks the number,
  /// kind, dtype, rank and every dimension of every input. round_to 0 in a FromInputMax means `default_round_to` (>=
  /// 1). Cheap (no allocation beyond the result), meant for every call. Errors: ETGGML_INVALID_ARGUMENT (count, kind),
  /// ETGGML_DTYPE, ETGGML_SHAPE (rank, dimension, symbol bounds), ETGGML_RANGE (negative position, position beyond the
  /// bound, Int argument out of bounds).
  Result<std::vector<int64_t>> bind(const InputView* inputs, size_t n, int64_t default_round_to) const;

  /// Whether a call may bind this symbol to 0: a dimension of an input with the minimum 0 in the payload.
  bool may_be_empty(uint32_t symbol) const;

  /// The symbols that a graph is built for: those that bind() gave, with the lower bound for each 0. Outputs that are
  /// empty for bind()'s symbols are to be left alone, inputs that are empty may hold anything. ETGGML_SHAPE where an
  /// output that is not empty, or a state, depends on a tensor that is.
  Result<std::vector<int64_t>> stand_in(const std::vector<int64_t>& symbols) const;

  /// Proves that every shape, view and boundary dimension is usable for these symbols (each dimension >= 1, element
  /// counts bounded, views inside their parents). graph::build() calls it; needed once per distinct binding.
  /// ETGGML_SHAPE.
  Status check_shapes(const std::vector<int64_t>& symbols) const;

  /// A Dim as a number. `symbols` must come from bind() or be one of the bounds. Cannot fail: parse() has excluded
  /// overflow and division by zero over the whole box of the bounds.
  int64_t dim(int64_t encoded, const std::vector<int64_t>& symbols) const;
  /// shapes[index] in ggml order.
  std::array<int64_t, 4> shape(uint32_t index, const std::vector<int64_t>& symbols) const;
  std::array<int64_t, 4> node_shape(uint32_t node_index, const std::vector<int64_t>& symbols) const {
    return shape(node(node_index).shape(), symbols);
  }
  /// A list of Dims (Input.dims, Output.dims), torch order.
  std::vector<int64_t> dims(const flatbuffers::Vector<int64_t>* encoded, const std::vector<int64_t>& symbols) const;

  /// By node: the exclusive upper bound for the contents of an integer node, for these symbols. It has one if they
  /// index rows somewhere downstream, else INT64_MAX. fill_host_input() enforces
  /// it for InputLeaf nodes, because ggml's kernels abort on a bad row index. ETGGML_SHAPE when a constant or a
  /// computed index could be out of range for these symbols.
  Result<std::vector<int64_t>> index_limits(const std::vector<int64_t>& symbols) const;

 private:
  friend class Validator;
  Graph() = default;

  Result<int64_t> bind_symbol(uint32_t symbol, const InputView* inputs, int64_t default_round_to) const;
  Result<int64_t> bind_max(const fb::Symbol& symbol, const fb::FromInputMax& source, const InputView& input,
                           int64_t default_round_to) const;

  std::vector<uint64_t> storage_;  // uint64_t: FlatBuffers reads 8-byte scalars in place
  const fb::Graph* payload_ = nullptr;
  std::string origin_;
  std::vector<int64_t> symbol_min_, symbol_max_;
  std::vector<Affine> symbol_affine_;
  std::vector<bool> input_used_;
  std::vector<bool> live_;
  std::vector<uint32_t> index_class_;  // by node: the class of integer values it belongs to (index_flow.cpp)
  std::vector<IndexUse> index_uses_;
  std::vector<IndexSource> index_sources_;
};

}  // namespace etggml::ir
