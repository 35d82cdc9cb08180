// Shared by the delegates of one loaded program: engine, states, sources of weights, statistics. Under a stock
// ExecuTorch runtime every delegate has one of its own (there is nothing that tells which delegates belong together).
#pragma once

#include <memory>
#include <mutex>
#include <vector>

#include "engine/engine.h"
#include "engine/options.h"
#include "engine/profile.h"
#include "engine/sampling.h"
#include "engine/states.h"
#include "engine/values.h"
#include "gguf/file_set.h"
#include "weights/weight_store.h"

namespace etggml::engine {

class Executable;

struct WeightTotals {
  size_t count = 0;
  uint64_t bytes = 0;
  uint64_t bytes_private = 0;  ///< in copies of ours; the rest is mapped
};

struct Context {
  SampledToken sampled;  ///< set between calls only
  /// The executable with outputs that are still on the device. Any later call may take their memory, so only the last
  /// one can be here.
  Executable* keeps_outputs = nullptr;
  Options options;
  std::shared_ptr<Engine> engine;
  std::shared_ptr<StateStore> states;
  std::shared_ptr<const gguf::FileSet> files;      ///< may be null
  std::shared_ptr<weights::WeightStore> embedded;  ///< weights from the .pte / .ptd
  Profile profile;
  WatchFn watch;  ///< shown every value of a call; set between calls only. Usually empty

  /// Store for the weights of a file set (shared with other programs); kept as long as this context.
  std::shared_ptr<weights::WeightStore> store_of(const gguf::FileSet& files);

  /// Weights of all delegates, those they share counted once.
  WeightTotals weight_totals() const;

  /// Copies outputs that sampling calls left on the device into the memory that they announced.
  Status finish_outputs();

  /// Delegates alive, for statistics.
  void add(Executable* executable);
  void remove(Executable* executable);
  template <class Fn>
  void for_each_executable(Fn fn) const {
    std::lock_guard<std::mutex> guard(mutex_);
    for (const Executable* executable : executables_) fn(*executable);
  }

  /// engine: options' own (exclusive) or the process's shared one.
  static Result<std::shared_ptr<Context>> create(Options options, std::shared_ptr<const gguf::FileSet> files,
                                                 bool exclusive_engine);

 private:
  mutable std::mutex mutex_;
  std::vector<Executable*> executables_;
  std::vector<std::shared_ptr<weights::WeightStore>> stores_;
};

}  // namespace etggml::engine
