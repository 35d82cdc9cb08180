#include "engine/states.h"

#include <cstring>
#include <utility>

#include "devices/types.h"
#include "weights/report.h"

namespace etggml::engine {
namespace {

Result<size_t> tensor_bytes(ggml_type type, const std::array<int64_t, 4>& ne) {
  ETGGML_ASSIGN_OR_RETURN(const size_t row, devices::row_bytes(type, ne[0]));
  return row * static_cast<size_t>(ne[1]) * static_cast<size_t>(ne[2]) * static_cast<size_t>(ne[3]);
}

// A tensor descriptor over a state's memory, for ggml's copy functions.
Result<devices::ContextPtr> describe(const StateInfo& info, const devices::Storage& storage, ggml_tensor** tensor) {
  ETGGML_ASSIGN_OR_RETURN(devices::ContextPtr context, devices::make_context(1));
  *tensor = ggml_new_tensor(context.get(), info.type, GGML_MAX_DIMS, info.ne.data());
  ETGGML_RETURN_IF_ERROR(devices::attach(*tensor, storage));
  return context;
}

}  // namespace

Result<devices::Storage> StateStore::get(const ir::Graph& ir_graph, uint32_t index, const weights::NamedData* named,
                                         StateInfo* info) {
  const ir::fb::StateSlot& slot = *ir_graph.payload().states()->Get(index);
  StateInfo wanted;
  wanted.name = slot.name() == nullptr ? "" : slot.name()->str();
  wanted.type = slot.kind() == ir::fb::StateKind_KvCache ? cache_type_ : static_cast<ggml_type>(slot.type());
  wanted.ne = ir_graph.shape(slot.shape(), {});
  wanted.kv_cache = slot.kind() == ir::fb::StateKind_KvCache;
  if (!devices::type_known(wanted.type)) {
    return error(ETGGML_FORMAT, "%s: state '%s' has unknown type %d", ir_graph.origin().c_str(), wanted.name.c_str(),
                 static_cast<int>(wanted.type));
  }
  const Result<size_t> bytes = tensor_bytes(wanted.type, wanted.ne);
  if (!bytes.ok()) {
    return error(ETGGML_INVALID_ARGUMENT,
                 "state '%s' of shape %s cannot have type %s: %s; choose another \"cache_type\"", wanted.name.c_str(),
                 weights::shape_text(wanted.ne.data()).c_str(), ggml_type_name(wanted.type),
                 bytes.status().message.c_str());
  }
  wanted.bytes = *bytes;

  std::lock_guard<std::mutex> guard(mutex_);
  auto it = states_.find(wanted.name);
  if (it != states_.end()) {
    const StateInfo& have = it->second.info;
    if (have.ne != wanted.ne || have.type != wanted.type) {
      return error(ETGGML_BIND,
                   "%s: state '%s' is %s %s here, but %s %s in a method loaded before; methods of one program share "
                   "states by name",
                   ir_graph.origin().c_str(), wanted.name.c_str(), ggml_type_name(wanted.type),
                   weights::shape_text(wanted.ne.data()).c_str(), ggml_type_name(have.type),
                   weights::shape_text(have.ne.data()).c_str());
    }
    *info = have;
    return it->second.storage;
  }
  State state;
  state.info = wanted;
  ETGGML_ASSIGN_OR_RETURN(devices::ContextPtr context, devices::make_context(1));
  ETGGML_ASSIGN_OR_RETURN(
      state.storage,
      devices::allocate_tensor(device_, ggml_new_tensor(context.get(), wanted.type, GGML_MAX_DIMS, wanted.ne.data())));
  ETGGML_RETURN_IF_ERROR(load_initial(slot, named, &state));
  ETGGML_RETURN_IF_ERROR(initialise(state, true));
  *info = wanted;
  return states_.emplace(wanted.name, std::move(state)).first->second.storage;
}

Status StateStore::load_initial(const ir::fb::StateSlot& slot, const weights::NamedData* named, State* state) const {
  const std::string key = slot.initial() == nullptr ? "" : slot.initial()->str();
  if (key.empty()) return ok_status();
  weights::Blob blob;
  bool found = false;
  if (named != nullptr) ETGGML_RETURN_IF_ERROR(named->get(key, &blob, &found));
  if (!found) {
    return error(ETGGML_BIND, "the initial value '%s' of state '%s' is not in the .pte; export it again", key.c_str(),
                 state->info.name.c_str());
  }
  // Stored as F32, for every type in memory.
  const ggml_type stored = GGML_TYPE_F32;
  ETGGML_ASSIGN_OR_RETURN(const size_t stored_bytes, tensor_bytes(stored, state->info.ne));
  if (blob.size != stored_bytes) {
    return error(ETGGML_FORMAT, "the initial value '%s' of state '%s' has %zu bytes, %s %s needs %zu", key.c_str(),
                 state->info.name.c_str(), blob.size, ggml_type_name(stored),
                 weights::shape_text(state->info.ne.data()).c_str(), stored_bytes);
  }
  state->initial = std::make_shared<std::vector<uint8_t>>(state->info.bytes);
  const int64_t columns = state->info.ne[0];
  const int64_t rows = state->info.ne[1] * state->info.ne[2] * state->info.ne[3];
  return devices::convert_rows(stored, blob.data, state->info.type, state->initial->data(), rows, columns);
}

Status StateStore::initialise(const State& state, bool fresh) const {
  if (state.initial == nullptr && fresh) return ok_status();  // new memory is zero
  if (state.initial == nullptr && state.storage.pages != nullptr) {
    state.storage.pages->clear();
    return ok_status();
  }
  ggml_tensor* tensor = nullptr;
  ETGGML_ASSIGN_OR_RETURN(devices::ContextPtr context, describe(state.info, state.storage, &tensor));
  if (state.initial != nullptr) {
    ggml_backend_tensor_set(tensor, state.initial->data(), 0, state.initial->size());
  } else {
    ggml_backend_tensor_memset(tensor, 0, 0, ggml_nbytes(tensor));
  }
  return ok_status();
}

Status StateStore::reset() {
  std::lock_guard<std::mutex> guard(mutex_);
  for (const auto& entry : states_) ETGGML_RETURN_IF_ERROR(initialise(entry.second, false));
  return ok_status();
}

std::vector<StateInfo> StateStore::list() const {
  std::lock_guard<std::mutex> guard(mutex_);
  std::vector<StateInfo> out;
  for (const auto& entry : states_) out.push_back(entry.second.info);
  return out;
}

}  // namespace etggml::engine
