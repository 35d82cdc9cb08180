// A loaded program: the C++ face of etggml_program, for the C ABI and for native loops on top of it (the generator).
//
//   ETGGML_ASSIGN_OR_RETURN(Program::Guard guard, program.enter());        // ETGGML_BUSY when another thread is inside
//   ETGGML_RETURN_IF_ERROR(program.execute(guard, "forward", in, 2));       // as often as wanted under one guard
//   const std::vector<etggml_tensor>& out = program.outputs(guard);        // in place, until the next execute / reset
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "engine/host_states.h"
#include "engine/options.h"
#include "engine/progress.h"
#include "engine/sampling.h"
#include "engine/state_info.h"
#include "engine/values.h"
#include "executorch_ggml.h"
#include "gguf/file_set.h"
#include "program/value_info.h"
#include "util/fork.h"
#include "util/json.h"

namespace executorch::etdump {
class ETDumpGen;
}

namespace etggml::engine {
struct Context;
}  // namespace etggml::engine

namespace etggml::program {
class LoadedMethod;
class PteFile;
}  // namespace etggml::program

namespace etggml::program {

class Program {
 public:
  /// weights may be null. progress may be empty.
  static Result<std::unique_ptr<Program>> load(const std::string& pte, std::shared_ptr<const gguf::FileSet> weights,
                                               engine::Options options, const engine::ProgressFn& progress);
  /// A call that is under way in another thread is cancelled and waited for.
  ~Program();
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;

  /// The right to be inside the program. While it is held every other thread gets ETGGML_BUSY. cancel() stays in effect
  /// until the guard is released.
  class Guard {
   public:
    Guard(Guard&&) = default;
    Guard& operator=(Guard&&) = default;

   private:
    friend class Program;
    struct Leave {
      void operator()(Program* program) const { program->inside_forks_.store(kNobody); }
    };
    Guard(Program* program, std::unique_lock<std::mutex> lock, std::shared_ptr<void> observer)
        : observer_(std::move(observer)), lock_(std::move(lock)), inside_(program) {
      program->inside_forks_.store(forks());
    }
    std::shared_ptr<void> observer_;  // after lock_: released once the lock is
    std::unique_lock<std::mutex> lock_;
    // Noted until then: a child of fork() sees by it that nobody will come out.
    std::unique_ptr<Program, Leave> inside_;
  };
  /// ETGGML_BUSY at once when somebody is inside.
  Result<Guard> enter();
  /// As enter(), for a moment's look: a call that wants to enter meanwhile waits instead of being refused.
  Result<Guard> observe();

  /// method: nullptr = "forward"; initialised on first use. Everything about the inputs is checked, see
  /// etggml_program_execute.
  Status execute(const Guard&, const char* method, const etggml_tensor* in, size_t n_in);
  /// Of the last successful execute().
  const std::vector<etggml_tensor>& outputs(const Guard&) const { return outputs_; }

  /// From the next execute() on, the device chooses a token from the last row of a method's one output, if it can. The
  /// output stays there until finish_outputs(); its memory is undefined until then. With SamplingRequest::outputs its
  /// copy is queued right behind the sampling, and finish_outputs() has nothing to wait for.
  void request_sampling(const Guard&, const engine::SamplingRequest& request);
  /// Of the last execute(): true when a token was sampled, `*token` as in cuda::ArgmaxDesc.
  bool sampled_token(const Guard&, int32_t* token) const;
  Status finish_outputs(const Guard&);

  /// Changes whenever the states may have: with every reset() and every execute() that has inputs. A loop that relies
  /// on its contents of the states can tell that somebody else has been here.
  uint64_t serial() const { return serial_.load(std::memory_order_relaxed); }
  /// Of the methods loaded so far.
  std::vector<engine::StateInfo> states(const Guard&) const;

  /// Number of outputs of a method. ETGGML_INVALID_ARGUMENT when there is no such method.
  Result<size_t> output_count(const char* method) const;
  /// Inputs of a method: dtype and upper-bound shape. ETGGML_INVALID_ARGUMENT when there is no such method.
  Result<std::vector<program::ValueInfo>> inputs(const char* method) const;
  Result<std::vector<program::ValueInfo>> method_outputs(const char* method) const;

  Status reset(const Guard&);
  /// From any thread, with or without a guard.
  void cancel();
  Result<Json> info(const Guard&) const;
  Json stats() const;
  /// From the next execute() on, shows every value of every delegate; an empty function ends it.
  void watch(const Guard&, engine::WatchFn fn);
  /// Writes the ETDump recorded so far and starts a new one. ETGGML_INVALID_ARGUMENT unless loaded with "etdump".
  Status write_etdump(const Guard&, const std::string& path);

 private:
  static constexpr uint64_t kNobody = UINT64_MAX;

  Program() = default;
  bool lost() const;
  static Status lost_call();
  Status load_method(const std::string& name, const engine::ProgressFn& progress);
  Status one_owner() const;

  // The order of destruction matters: methods before the objects that their delegates and ExecuTorch's loader use.
  std::shared_ptr<engine::Context> context_;
  std::unique_ptr<program::PteFile> file_;
  std::unique_ptr<executorch::etdump::ETDumpGen> etdump_;
  std::map<std::string, std::unique_ptr<program::LoadedMethod>> methods_;
  engine::HostStates host_states_;  // their places belong to the methods
  std::vector<etggml_tensor> outputs_;
  std::atomic<uint64_t> serial_{0};
  std::atomic<int> observers_{0};
  std::atomic<uint64_t> inside_forks_{kNobody};  // forks() of who is inside
  const uint64_t born_ = forks();
  std::mutex busy_;
};

/// See etggml_program_check. weights may be null.
Result<Json> check_program(const std::string& pte, std::shared_ptr<const gguf::FileSet> weights);

/// See etggml_program_payloads.
Status program_payloads(const std::string& pte,
                        const std::function<void(const char* method, size_t index, const void* data, size_t size)>& fn);

}  // namespace etggml::program
