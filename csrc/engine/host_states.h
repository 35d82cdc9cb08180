// States in ExecuTorch's memory: every method has a place of its own for them. One value is carried from method to
// method as they are called, kept while a method is loaded again, and set back by reset().
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "util/status.h"

namespace etggml::engine {

class HostStates {
 public:
  struct Info {
    std::string name;
    int32_t dtype = 0;
    std::vector<int64_t> shape;
    size_t bytes = 0;
  };
  struct Place {
    Info info;
    uint8_t* data = nullptr;
  };

  /// A method has been loaded: its places hold initial values. ETGGML_BIND when it knows a state as something else than
  /// the methods before.
  Status attach(const std::string& method, const std::vector<Place>& places);
  /// The method's memory goes away.
  void detach(const std::string& method);
  /// The method is about to run: its places get the contents that the others left.
  void enter(const std::string& method);
  /// Every state back to its initial value.
  void reset();
  /// Of the methods loaded so far.
  std::vector<Info> list() const;

 private:
  struct State {
    Info info;
    std::vector<uint8_t> initial;
    std::map<std::string, uint8_t*> places;  // by method
    uint8_t* newest = nullptr;               // the place that holds the value; null: `kept` does
    std::vector<uint8_t> kept;
  };

  std::map<std::string, State> states_;
};

}  // namespace etggml::engine
