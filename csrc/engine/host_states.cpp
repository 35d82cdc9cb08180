#include "engine/host_states.h"

#include <cstring>

namespace etggml::engine {

Status HostStates::attach(const std::string& method, const std::vector<Place>& places) {
  for (const Place& place : places) {
    const auto it = states_.find(place.info.name);
    if (it == states_.end()) continue;
    const Info& have = it->second.info;
    if (have.dtype != place.info.dtype || have.shape != place.info.shape) {
      return error(ETGGML_BIND, "state '%s' has another shape or type in method '%s' than in the methods before",
                   have.name.c_str(), method.c_str());
    }
  }
  for (const Place& place : places) {
    const auto [it, fresh] = states_.try_emplace(place.info.name);
    State& state = it->second;
    if (fresh) {
      state.info = place.info;
      state.initial.assign(place.data, place.data + place.info.bytes);
      state.newest = place.data;
    }
    state.places[method] = place.data;
  }
  return ok_status();
}

void HostStates::detach(const std::string& method) {
  for (auto& [name, state] : states_) {
    const auto place = state.places.find(method);
    if (place == state.places.end()) continue;
    if (state.newest == place->second) {
      state.kept.assign(place->second, place->second + state.info.bytes);
      state.newest = nullptr;
    }
    state.places.erase(place);
  }
}

void HostStates::enter(const std::string& method) {
  for (auto& [name, state] : states_) {
    const auto place = state.places.find(method);
    if (place == state.places.end() || place->second == state.newest) continue;
    std::memcpy(place->second, state.newest == nullptr ? state.kept.data() : state.newest, state.info.bytes);
    state.newest = place->second;
    state.kept.clear();
  }
}

void HostStates::reset() {
  for (auto& [name, state] : states_) {
    if (state.newest == nullptr) {
      state.kept = state.initial;
    } else {
      std::memcpy(state.newest, state.initial.data(), state.info.bytes);
    }
  }
}

std::vector<HostStates::Info> HostStates::list() const {
  std::vector<Info> out;
  for (const auto& entry : states_) out.push_back(entry.second.info);
  return out;
}

}  // namespace etggml::engine
