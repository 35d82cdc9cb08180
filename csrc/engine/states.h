// Named mutable state (KV caches, recurrent state): one store per program, shared by its methods by name.
#pragma once

#include <array>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "devices/memory.h"
#include "engine/state_info.h"
#include "ir/graph.h"
#include "weights/named_data.h"

namespace etggml::engine {

class StateStore {
 public:
  StateStore(devices::Device device, ggml_type cache_type) : device_(std::move(device)), cache_type_(cache_type) {}

  /// Memory of a slot of `program`, made and initialised by the first method that names it. `named` holds initial
  /// values (may be null when the slot has none). ETGGML_BIND when the name exists with another shape or type;
  /// ETGGML_INVALID_ARGUMENT when a KV cache's rows are not whole blocks of the cache type.
  Result<devices::Storage> get(const ir::Graph& ir_graph, uint32_t slot, const weights::NamedData* named,
                               StateInfo* info);

  /// Every state back to its initial value. Must not run beside a computation that uses them.
  Status reset();

  std::vector<StateInfo> list() const;
  ggml_type cache_type() const { return cache_type_; }

 private:
  struct State {
    StateInfo info;
    devices::Storage storage;
    std::shared_ptr<std::vector<uint8_t>> initial;  // null: zeros
  };

  Status load_initial(const ir::fb::StateSlot& slot, const weights::NamedData* named, State* state) const;
  Status initialise(const State& state, bool fresh) const;

  const devices::Device device_;
  const ggml_type cache_type_;
  mutable std::mutex mutex_;
  std::map<std::string, State> states_;
};

}  // namespace etggml::engine
