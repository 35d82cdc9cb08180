#include "engine/engine.h"

#include <map>
#include <utility>

#include "device_rules/ggml_internals.h"
#include "devices/threads.h"
#include "engine/device_calls.h"
#include "kernels/kernel_guard.h"
#include "kernels/thread_memory.h"
#include "util/log.h"
#include "util/room.h"

namespace etggml::engine {
namespace {

using NewPool = ggml_threadpool_t (*)(ggml_threadpool_params*);
using FreePool = void (*)(ggml_threadpool_t);
using SetPool = void (*)(ggml_backend_t, ggml_threadpool_t);

// How long workers spin for the next graph before they sleep, in units of about 40 us (see ggml_ext/etggml_barrier.h).
// It is long enough for the gap between two tokens of a small model. It is short enough that an idle session costs a
// busy machine nothing.
constexpr uint32_t kPoll = 2;

// Called by thread 0 of a graph only: after every node, and by ggml's kernels between pieces of one.
bool abort_callback(void* stop) { return static_cast<Stop*>(stop)->asked(0); }

// Of our ggml's CPU module (ggml_ext/etggml_threads.h).
using RestartPool = bool (*)(ggml_threadpool_t);
using ForgetPool = void (*)(ggml_threadpool_t);

}  // namespace

Result<std::unique_ptr<Arena>> Arena::create(ggml_backend_buffer_type_t type) {
  std::unique_ptr<Arena> arena(new Arena());
  arena->allocator_ = ggml_gallocr_new(type);
  if (arena->allocator_ == nullptr) return error(ETGGML_OUT_OF_MEMORY, "cannot create a graph allocator");
  return arena;
}

Arena::~Arena() { ggml_gallocr_free(allocator_); }

size_t Arena::bytes() const { return bytes_; }

Status Arena::place(ggml_cgraph* graph) {
  // The allocator's notes for a node: a slot of two hash tables, never more than half full, and the places of its
  // sources.
  constexpr size_t kNode = 1024;
  const size_t nodes = static_cast<size_t>(graph->n_nodes) + static_cast<size_t>(graph->n_leafs);
  if (!room_for(nodes * kNode))
    return error(ETGGML_OUT_OF_MEMORY, "cannot allocate the plan of a graph of %zu nodes", nodes);
  // Without the first call the allocator looks at the reads and writes of nodes, to decide whether its memory still
  // fits. An input that is itself an output is neither, and a larger one would end the process on ggml's assertion.
  if (!ggml_gallocr_reserve(allocator_, graph) || !ggml_gallocr_alloc_graph(allocator_, graph)) {
    // The old memory is gone as well (ggml frees before it allocates).
    bytes_ = 0;
    ++generation_;
    return error(ETGGML_OUT_OF_MEMORY,
                 "cannot allocate the intermediate results of this call; use shorter inputs or fewer "
                 "programs at a time");
  }
  // The allocator replaces its memory only to grow it, so an unchanged size means unchanged addresses.
  const size_t now = ggml_gallocr_get_buffer_size(allocator_, 0);
  if (now != bytes_) {
    bytes_ = now;
    ++generation_;
  }
  return ok_status();
}

Result<std::shared_ptr<Engine>> Engine::create(const std::string& device, int threads) {
  std::shared_ptr<Engine> engine(new Engine());
  ETGGML_RETURN_IF_ERROR(engine->init(device, threads));
  return engine;
}

Result<std::shared_ptr<Engine>> Engine::shared(const std::string& device, int threads) {
  // Leaked on purpose: threads may still hold engines while static destructors run.
  static auto* engines = new std::map<std::pair<std::string, int>, std::weak_ptr<Engine>>();
  static auto* mutex = new ProcessMutex(20);
  ETGGML_ASSIGN_OR_RETURN(const devices::Device selected, devices::select_device(device));
  const std::pair<std::string, int> key(selected.name + "@" + std::to_string(forks()),
                                        threads > 0 ? threads : devices::default_threads());
  std::lock_guard<ProcessMutex> guard(*mutex);
  if (std::shared_ptr<Engine> engine = (*engines)[key].lock()) return engine;
  ETGGML_ASSIGN_OR_RETURN(std::shared_ptr<Engine> engine, create(selected.name, key.second));
  (*engines)[key] = engine;
  return engine;
}

Status Engine::init(const std::string& device, int threads) {
  ETGGML_ASSIGN_OR_RETURN(device_, devices::select_device(device));
  threads_ = threads > 0 ? threads : devices::default_threads();
  backend_ = ggml_backend_dev_init(device_.handle, nullptr);
  if (backend_ == nullptr) {
    return error(ETGGML_DEVICE, "device '%s' (%s) could not be initialised", device_.name.c_str(),
                 device_.description.c_str());
  }
  if (auto set_threads =
          devices::backend_function<ggml_backend_set_n_threads_t>(device_.handle, "ggml_backend_set_n_threads")) {
    set_threads(backend_, threads_);
  }
  if (auto set_abort = devices::backend_function<ggml_backend_set_abort_callback_t>(
          device_.handle, "ggml_backend_set_abort_callback")) {
    set_abort(backend_, abort_callback, &stop_);
  }
  auto new_pool = devices::backend_function<NewPool>(device_.handle, "ggml_threadpool_new");
  auto set_pool = devices::backend_function<SetPool>(device_.handle, "ggml_backend_cpu_set_threadpool");
  free_pool_ = devices::backend_function<FreePool>(device_.handle, "ggml_threadpool_free");
  if (is_cpu() && new_pool != nullptr && set_pool != nullptr && free_pool_ != nullptr) {
    // Without a pool ggml makes and joins its threads in every compute. With one thread the pool has no threads at all.
    ggml_threadpool_params params = ggml_threadpool_params_default(threads_);
    params.poll = kPoll;
    pool_ = new_pool(&params);
    if (pool_ == nullptr) {
      return error(ETGGML_OUT_OF_MEMORY,
                   "the system gives this process no %d compute threads (memory for stacks, or a limit on threads or "
                   "processes); use fewer with the option \"threads\"",
                   threads_);
    }
    set_pool(backend_, pool_);
  }
  ETGGML_RETURN_IF_ERROR(touch_threads());
  ETGGML_ASSIGN_OR_RETURN(arena_, Arena::create(buffer_type()));
  log(ETGGML_LOG_DEBUG, "engine on %s, %d threads", device_.name.c_str(), threads_);
  return ok_status();
}

// Each thread gets its memory now, while a failure is an error of loading, and not in the middle of a graph.
Status Engine::touch_threads() {
  if (pool_ == nullptr) return ok_status();
  ggml_init_params params = {};
  params.mem_size = ggml_tensor_overhead() + ggml_graph_overhead_custom(8, false) + 1024;
  ggml_context* context = room_for(params.mem_size) ? ggml_init(params) : nullptr;
  if (context == nullptr) return error(ETGGML_OUT_OF_MEMORY, "out of memory while threads were started");
  ggml_tensor* node = ggml_custom_4d(context, GGML_TYPE_F32, 1, 1, 1, 1, nullptr, 0, kernels::touch_thread_memory,
                                     GGML_N_TASKS_MAX, nullptr);
  ggml_cgraph* graph = ggml_new_graph_custom(context, 8, false);
  ggml_graph_add_node(graph, node);
  const ggml_status status = ggml_backend_graph_compute(backend_, graph);
  ggml_free(context);
  return status == GGML_STATUS_SUCCESS || status == GGML_STATUS_ABORTED
             ? ok_status()
             : error(ETGGML_OUT_OF_MEMORY, "out of memory while threads were started");
}

Engine::~Engine() {
  if (lost()) {  // a driver that was not forked with the process, or memory that a lost thread was changing
    (void)arena_.release();
    return;
  }
  if (pool_ != nullptr && forks_.load() != forks()) {
    const auto forget = reinterpret_cast<ForgetPool>(devices::cpu_module_symbol("etggml_threadpool_forget"));
    if (forget == nullptr) return;
    forget(pool_);
  }
  arena_.reset();
  if (backend_ != nullptr) ggml_backend_free(backend_);
  if (pool_ != nullptr) free_pool_(pool_);
}

bool Engine::lost() {
  if (forks_.load() == forks()) return false;
  if (!is_cpu()) return true;
  const bool free = mutex_.try_lock();
  if (free) mutex_.unlock();
  return !free;
}

Status Engine::wake() {
  if (!is_cpu()) {
    return error(ETGGML_DEVICE,
                 "device '%s' was opened before this process was forked and cannot be used in the child; load the "
                 "program after the fork, in a process started with \"spawn\"",
                 device_.name.c_str());
  }
  std::unique_lock<std::mutex> lock(mutex_, std::try_to_lock);
  if (!lock.owns_lock()) {
    // Either a thread of the parent, which will never let go, or one of this process that is doing the same.
    if (forks_.load(std::memory_order_acquire) == forks()) return ok_status();
    return error(ETGGML_DEVICE,
                 "this process was forked while a thread of its parent was computing with this program; load the "
                 "program again");
  }
  if (forks_.load(std::memory_order_relaxed) == forks()) return ok_status();
  const auto restart = reinterpret_cast<RestartPool>(devices::cpu_module_symbol("etggml_threadpool_restart"));
  if (pool_ != nullptr && (restart == nullptr || !restart(pool_))) {
    return error(ETGGML_OUT_OF_MEMORY,
                 "the system gives this forked process no %d compute threads; load the program again with fewer",
                 threads_);
  }
  forks_.store(forks(), std::memory_order_release);
  return touch_threads();
}

ggml_backend_buffer_type_t Engine::buffer_type() const { return ggml_backend_dev_buffer_type(device_.handle); }

Status Engine::compute(ggml_cgraph* graph, ggml_backend_graph_plan_t plan) {
  const Status status = start(graph, plan);
  wait();
  return status;
}

Status Engine::start(ggml_cgraph* graph, ggml_backend_graph_plan_t plan) {
  // Once more, and ggml would record a CUDA graph of a failing one.
  if (!failed_call_.empty()) return broken();
  stop_.begin();
  const ggml_status status = plan != nullptr ? ggml_backend_graph_plan_compute(backend_, plan)
                                             : ggml_backend_graph_compute_async(backend_, graph);
  failed_call_ = take_failed_call();
  if (!failed_call_.empty()) {
    wait();  // earlier work still reads the caller's memory
    return broken();
  }
  if (is_cpu() && kernels::take_failed_kernel(graph))
    return error(ETGGML_OUT_OF_MEMORY,
                 "memory ran out while computing; use shorter inputs or fewer programs at a time");
  if (status == GGML_STATUS_ABORTED || (is_cpu() && stop_.stopping()))
    return error(ETGGML_CANCELLED, "the call was cancelled");
  if (status == GGML_STATUS_SUCCESS) return ok_status();
  if (status == GGML_STATUS_ALLOC_FAILED) {
    return error(ETGGML_OUT_OF_MEMORY, "device '%s' ran out of memory while computing", device_.name.c_str());
  }
  return error(ETGGML_DEVICE, "device '%s' failed while computing (ggml status %d)", device_.name.c_str(),
               static_cast<int>(status));
}

Status Engine::broken() const {
  return error(ETGGML_DEVICE, "device '%s' could not launch the kernel %s", device_.name.c_str(), failed_call_.c_str());
}

ggml_backend_graph_plan_t Engine::make_plan(ggml_cgraph* graph) {
  // ggml asserts that the backend has plans; only the CPU's does.
  return is_cpu() ? ggml_backend_graph_plan_create(backend_, graph) : nullptr;
}

void Engine::free_plan(ggml_backend_graph_plan_t plan) {
  if (plan != nullptr) ggml_backend_graph_plan_free(backend_, plan);
}

}  // namespace etggml::engine
