#include "engine/context.h"

#include <algorithm>
#include <set>
#include <utility>

#include "engine/executable.h"

namespace etggml::engine {

Result<std::shared_ptr<Context>> Context::create(Options options, std::shared_ptr<const gguf::FileSet> files,
                                                 bool exclusive_engine) {
  auto context = std::make_shared<Context>();
  if (exclusive_engine) {
    ETGGML_ASSIGN_OR_RETURN(context->engine, Engine::create(options.device, options.threads));
  } else {
    ETGGML_ASSIGN_OR_RETURN(context->engine, Engine::shared(options.device, options.threads));
  }
  context->states = std::make_shared<StateStore>(context->engine->device(), options.cache_type);
  context->embedded = std::make_shared<weights::WeightStore>(context->engine->device());
  context->options = std::move(options);
  context->files = std::move(files);
  return context;
}

std::shared_ptr<weights::WeightStore> Context::store_of(const gguf::FileSet& files) {
  std::shared_ptr<weights::WeightStore> store = weights::WeightStore::shared(files, engine->device());
  std::lock_guard<std::mutex> guard(mutex_);
  if (std::find(stores_.begin(), stores_.end(), store) == stores_.end()) stores_.push_back(store);
  return store;
}

WeightTotals Context::weight_totals() const {
  WeightTotals totals;
  std::set<const void*> seen;
  for_each_executable([&](const Executable& executable) {
    for (const WeightUse& use : executable.weights()) {
      if (!seen.insert(use.address).second) continue;
      totals.count += 1;
      totals.bytes += use.bytes;
      totals.bytes_private += use.bytes_private;
    }
  });
  return totals;
}

Status Context::finish_outputs() {
  Executable* executable = std::exchange(keeps_outputs, nullptr);
  return executable == nullptr ? ok_status() : executable->finish_outputs();
}

void Context::add(Executable* executable) {
  std::lock_guard<std::mutex> guard(mutex_);
  executables_.push_back(executable);
}

void Context::remove(Executable* executable) {
  std::lock_guard<std::mutex> guard(mutex_);
  if (keeps_outputs == executable) keeps_outputs = nullptr;
  executables_.erase(std::remove(executables_.begin(), executables_.end(), executable), executables_.end());
}

}  // namespace etggml::engine
