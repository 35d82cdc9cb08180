// Executable: one call.
#include <algorithm>
#include <cstring>
#include <utility>

#include "engine/device_calls.h"
#include "engine/dump.h"
#include "engine/executable.h"
#include "engine/output.h"
#include "graph/host_fill.h"
#include "kernels/custom_op.h"
#include "util/env.h"
#include "util/log.h"
#include "util/room.h"
#include "util/scalar_type.h"
#include "util/watched_file.h"

namespace etggml::engine {
namespace {

// A graph is rebuilt whenever the attended length crosses a multiple of this. CPU kernels cost time for every key, so
// it is small there; on GPUs the fast attention kernels want multiples of 256 and rebuilding is dearer.
constexpr int64_t kRoundCpu = 32;
constexpr int64_t kRoundGpu = 256;

// The ops that matter differ in type and shape of the first source (the matrix).
std::string op_detail(const ggml_tensor* t) {
  if (t->op != GGML_OP_MUL_MAT && t->op != GGML_OP_MUL_MAT_ID && t->op != GGML_OP_GET_ROWS && t->op != GGML_OP_CUSTOM)
    return "";
  const ggml_tensor* w = t->src[0];
  if (w == nullptr) return "";
  return format("%s %lldx%lld", ggml_type_name(w->type), static_cast<long long>(w->ne[0]),
                static_cast<long long>(w->ne[1]));
}

// Memory traffic, for comparing with the machine's bandwidth: the least that the op must read and write.
int64_t op_bytes(const ggml_tensor* t) {
  switch (t->op) {
    case GGML_OP_GET_ROWS:
      return static_cast<int64_t>(ggml_nbytes(t) +
                                  ggml_row_size(t->src[0]->type, t->ne[0]) * static_cast<size_t>(ggml_nrows(t)));
    case GGML_OP_SET_ROWS:
      return static_cast<int64_t>(ggml_nbytes(t->src[0]) +
                                  ggml_row_size(t->type, t->ne[0]) * static_cast<size_t>(ggml_nrows(t->src[0])));
    case GGML_OP_MUL_MAT_ID: {
      const int64_t experts = std::min(t->src[0]->ne[2], ggml_nelements(t->src[2]));
      return static_cast<int64_t>(ggml_nbytes(t) + ggml_nbytes(t->src[1])) +
             static_cast<int64_t>(t->src[0]->nb[2]) * experts;
    }
    default:
      break;
  }
  size_t bytes = ggml_nbytes(t);
  for (int s = 0; s < GGML_MAX_SRC && t->src[s] != nullptr; ++s) bytes += ggml_nbytes(t->src[s]);
  return static_cast<int64_t>(bytes);
}

}  // namespace

class Executable::SlotLeaves final : public graph::Leaves {
 public:
  explicit SlotLeaves(const Executable& e) : e_(e) {}
  ggml_tensor* weight(uint32_t slot) override { return at(e_.weights_, slot); }
  ggml_tensor* state(uint32_t slot) override { return at(e_.states_, slot); }
  ggml_tensor* constant(uint32_t index) override { return at(e_.constants_, index); }

 private:
  static ggml_tensor* at(const std::vector<ggml_tensor*>& list, uint32_t i) {
    return i < list.size() ? list[i] : nullptr;
  }
  const Executable& e_;
};

Status Executable::run(const ir::InputView* inputs, size_t n, OutputSink& sink, NodeObserver* observer) {
  CallTimes times;
  bool hit = false;
  ETGGML_RETURN_IF_ERROR(context_->engine->survive_fork());
  std::lock_guard<std::mutex> guard(context_->engine->mutex());
  std::vector<int64_t> sizes, symbols;
  {
    Stopwatch watch(&times[Phase::Bind]);
    ETGGML_RETURN_IF_ERROR(check_files());
    ETGGML_ASSIGN_OR_RETURN(sizes, ir_graph_->bind(inputs, n, context_->engine->is_cpu() ? kRoundCpu : kRoundGpu));
    ETGGML_ASSIGN_OR_RETURN(symbols, ir_graph_->stand_in(sizes));
  }
  Plan* plan = nullptr;
  {
    Stopwatch watch(&times[Phase::Plan]);
    const bool choose = ir_graph_->output_count() == 1 && observer == nullptr && symbols == sizes;
    ETGGML_ASSIGN_OR_RETURN(plan, plan_for(symbols, choose ? context_->sampled.wanted.how : Sampling::None, &hit));
  }
  std::vector<void*> destinations;
  {
    Stopwatch watch(&times[Phase::Fill]);
    ETGGML_RETURN_IF_ERROR(announce(*plan, sizes, sink, &destinations));
    ETGGML_RETURN_IF_ERROR(fill(*plan, inputs, n));
  }
  if (observer != nullptr && observer->wants_values()) show_call(*plan, inputs, n, *observer);
  {
    Stopwatch watch(&times[Phase::Compute]);
    ETGGML_RETURN_IF_ERROR(compute(*plan, observer));
  }
  {
    Stopwatch watch(&times[Phase::Output]);
    ETGGML_RETURN_IF_ERROR(deliver(*plan, sink, destinations));
  }
  context_->profile.add_call(times, hit);
  context_->profile.set_graph(plan->running_nodes(), plan->call_nodes());
  for (const auto& files : files_) files->remember(times.total() / kRememberShare);
  static const bool perf_log = env_flag("GGML_PERF_LOG");
  if (perf_log) {
    log(ETGGML_LOG_INFO, "perf %s: bind %.3f plan %.3f%s fill %.3f compute %.3f output %.3f total %.3f ms",
        ir_graph_->origin().c_str(), times[Phase::Bind] * 1e-6, times[Phase::Plan] * 1e-6, hit ? "" : " (new)",
        times[Phase::Fill] * 1e-6, times[Phase::Compute] * 1e-6, times[Phase::Output] * 1e-6, times.total() * 1e-6);
  }
  return ok_status();
}

Result<Plan*> Executable::plan_for(const std::vector<int64_t>& symbols, Sampling sampling, bool* hit) {
  uncached_.reset();
  withheld_.clear();
  context_->keeps_outputs = nullptr;
  std::vector<int64_t> key = symbols;
  key.push_back(static_cast<int64_t>(sampling));
  if (std::unique_ptr<Plan>* found = plans_.find(key)) {
    if ((*found)->placed()) {
      *hit = true;
      return found->get();
    }
    plans_.erase(key);
  }
  Engine& engine = *context_->engine;
  Arena& arena = own_arena_ != nullptr ? *own_arena_ : engine.arena();
  SlotLeaves leaves(*this);
  ETGGML_ASSIGN_OR_RETURN(std::unique_ptr<Plan> plan,
                          Plan::create(engine, arena, *ir_graph_, symbols, leaves, sampling));
  dump_plan(*plan, *ir_graph_);
  Plan* raw = plan.get();
  if (plans_.capacity() == 0) {
    uncached_ = std::move(plan);
  } else {
    plans_.insert(key, std::move(plan));
  }
  return raw;
}

Status Executable::announce(const Plan& plan, const std::vector<int64_t>& sizes, OutputSink& sink,
                            std::vector<void*>* destinations) {
  const auto* outputs = ir_graph_->payload().outputs();
  const size_t count = outputs == nullptr ? 0 : outputs->size();
  destinations->assign(count, nullptr);
  output_memory_.resize(count);
  empty_.assign(count, false);
  for (size_t i = 0; i < count; ++i) {
    const ir::fb::Output& output = *outputs->Get(static_cast<flatbuffers::uoffset_t>(i));
    const std::vector<int64_t> dims = ir_graph_->dims(output.dims(), sizes);
    int64_t elements = 1;
    for (int64_t d : dims) elements *= d;
    empty_[i] = elements == 0;
    if (!empty_[i] && elements != ggml_nelements(plan.built().outputs[i])) {
      return error(ETGGML_FORMAT, "%s: output %zu declares %lld elements but its value has %lld",
                   ir_graph_->origin().c_str(), i, static_cast<long long>(elements),
                   static_cast<long long>(ggml_nelements(plan.built().outputs[i])));
    }
    const size_t nbytes = static_cast<size_t>(elements) * scalar_size(output.dtype());
    ETGGML_RETURN_IF_ERROR(sink.resize(i, output.dtype(), dims, nbytes, &(*destinations)[i]));
  }
  return ok_status();
}

Status Executable::fill(Plan& plan, const ir::InputView* inputs, size_t n) {
  // Inputs of a device lie side by side in pinned memory; the last call has ended, so nothing reads it any more.
  size_t staged = sizeof(cuda::SampleParams);
  for (const graph::HostInput& input : plan.built().host_inputs) staged += ggml_nbytes(input.tensor);
  if (!context_->engine->is_cpu())
    ETGGML_RETURN_IF_ERROR(staging_.reserve(context_->engine->device(), staged).status());
  char* at = staging_.data();
  fill_sampling(plan, at);
  if (at != nullptr) at += sizeof(cuda::SampleParams);
  for (size_t i = 0; i < plan.built().host_inputs.size(); ++i) {
    const graph::HostInput& input = plan.built().host_inputs[i];
    ggml_tensor* tensor = input.tensor;
    if (context_->engine->is_cpu() &&
        plan.borrowed().borrow(i, graph::host_input_as_it_is(*ir_graph_, input, inputs, n, plan.symbols())))
      continue;
    if (tensor->data == nullptr || tensor->buffer == nullptr) {
      return error(ETGGML_INTERNAL, "%s: input node %u has no memory", ir_graph_->origin().c_str(), input.node);
    }
    const size_t bytes = ggml_nbytes(tensor);
    if (ggml_backend_buffer_is_host(tensor->buffer)) {
      ETGGML_RETURN_IF_ERROR(graph::fill_host_input(*ir_graph_, input, inputs, n, plan.symbols(), tensor->data, bytes));
    } else {
      ETGGML_RETURN_IF_ERROR(graph::fill_host_input(*ir_graph_, input, inputs, n, plan.symbols(), at, bytes));
      ggml_backend_tensor_set_async(context_->engine->backend(), tensor, at, 0, bytes);
      at += bytes;
    }
  }
  return ok_status();
}

void Executable::fill_sampling(const Plan& plan, char* staging) {
  ggml_tensor* to = plan.sampling_params();
  if (to == nullptr) return;
  const cuda::SampleParams& params = context_->sampled.wanted.params;
  if (ggml_backend_buffer_is_host(to->buffer)) {
    std::memcpy(to->data, &params, sizeof(params));
  } else {
    std::memcpy(staging, &params, sizeof(params));
    ggml_backend_tensor_set_async(context_->engine->backend(), to, staging, 0, sizeof(params));
  }
}

Status Executable::compute(const Plan& plan, NodeObserver* observer) {
  const Status status = compute_graph(plan, observer);
  // Our kernels count their finished work in their nodes; one that ended early did not get to the end.
  if (status.code == ETGGML_OUT_OF_MEMORY || status.code == ETGGML_CANCELLED) plans_.clear();
  return status;
}

Status Executable::compute_graph(const Plan& plan, NodeObserver* observer) {
  if (observer != nullptr || context_->options.profile) return compute_nodes(plan, observer);
  if (ggml_graph_n_nodes(plan.graph()) == 0) return ok_status();
  (void)take_launched();
  ETGGML_RETURN_IF_ERROR(context_->engine->start(plan.graph(), plan.schedule()));
  const bool launched = take_launched();
  if (plan.call_nodes() > 0 && !context_->engine->is_cpu()) context_->profile.add_device_run(!launched);
  return ok_status();
}

// One node at a time: exact times, at the price of a thread synchronisation per node and of ggml's fusions.
Status Executable::compute_nodes(const Plan& plan, NodeObserver* observer) {
  ggml_init_params params = {};
  params.mem_size = ggml_graph_overhead_custom(8, false) + 1024;
  params.no_alloc = true;
  devices::ContextPtr scratch(room_for(params.mem_size) ? ggml_init(params) : nullptr);
  if (scratch == nullptr) return error(ETGGML_OUT_OF_MEMORY, "cannot allocate a graph for profiling");
  ggml_cgraph* single = ggml_new_graph_custom(scratch.get(), 8, false);
  const bool values = observer != nullptr && observer->wants_values();
  if (values) {
    for (const graph::HostInput& input : plan.built().host_inputs)
      ETGGML_RETURN_IF_ERROR(show_node(input.node, input.tensor, *observer));
  }
  for (int i = 0; i < ggml_graph_n_nodes(plan.graph()); ++i) {
    ggml_tensor* node = ggml_graph_node(plan.graph(), i);
    if (computes(node)) {
      ggml_graph_clear(single);
      ggml_graph_add_node(single, node);
      const int64_t start = now_ns();
      ETGGML_RETURN_IF_ERROR(context_->engine->compute(single, nullptr));
      const int64_t end = now_ns();
      context_->profile.add_op(kernels::op_name(node), op_detail(node), end - start, op_bytes(node));
      if (observer != nullptr) observer->node(plan.ir_node(i), kernels::op_name(node), start, end);
    }
    // Now or never: the memory goes to a later node when the last reader has run. Views have values as well.
    const int64_t ir_node = plan.ir_node(i);
    if (values && ir_node >= 0 && plan.built().values[static_cast<size_t>(ir_node)] == node)
      ETGGML_RETURN_IF_ERROR(show_node(static_cast<uint32_t>(ir_node), node, *observer));
  }
  return ok_status();
}

void Executable::show_call(const Plan& plan, const ir::InputView* inputs, size_t n, NodeObserver& observer) {
  for (size_t i = 0; i < plan.symbols().size(); ++i)
    observer.value(symbol_value(static_cast<uint32_t>(i), plan.symbols()[i]));
  for (size_t i = 0; i < n; ++i) observer.value(input_value(static_cast<uint32_t>(i), inputs[i]));
}

Status Executable::show_node(uint32_t ir_node, const ggml_tensor* tensor, NodeObserver& observer) {
  std::vector<uint8_t> memory;
  ETGGML_ASSIGN_OR_RETURN(const Value value, node_value(ir_node, tensor, &memory));
  observer.value(value);
  return ok_status();
}

Status Executable::copy_token(const Plan& plan) {
  Engine& engine = *context_->engine;
  ETGGML_ASSIGN_OR_RETURN(char* to, token_.reserve(engine.device(), sizeof(int32_t)));
  ggml_backend_tensor_get_async(engine.backend(), plan.token(), to, 0, sizeof(int32_t));
  return ok_status();
}

void Executable::take_token() {
  context_->sampled.made = true;
  std::memcpy(&context_->sampled.token, token_.data(), sizeof(int32_t));
}

// By way of pinned memory, which the sink may take as it is; one wait for all. With sampling the bytes stay behind
// until somebody asks for them, unless it is known already that somebody will.
Status Executable::deliver_from_device(const Plan& plan, OutputSink& sink, const std::vector<void*>& destinations) {
  Engine& engine = *context_->engine;
  const auto* outputs = ir_graph_->payload().outputs();
  std::vector<Withheld> results;
  size_t total = 0;
  for (size_t i = 0; i < destinations.size(); ++i) {
    const ggml_tensor* tensor = plan.built().outputs[i];
    const int32_t dtype = outputs->Get(static_cast<flatbuffers::uoffset_t>(i))->dtype();
    const size_t nbytes = empty_[i] ? 0 : static_cast<size_t>(ggml_nelements(tensor)) * scalar_size(dtype);
    results.push_back({tensor, dtype, destinations[i], nbytes, total});
    total += (nbytes + 63) / 64 * 64;  // a cache line each
  }
  ETGGML_ASSIGN_OR_RETURN(char* const pinned, results_.reserve(engine.device(), total));
  for (size_t i = 0; i < results.size(); ++i) {
    if (empty_[i]) continue;
    if (destinations[i] == nullptr || sink.prefer_adopt()) {
      results[i].destination = pinned + results[i].place;
      sink.adopt(i, results[i].destination);
    }
  }
  for (const Withheld& result : results) {
    if (result.nbytes > 0) withheld_.push_back(result);
  }
  if (plan.token() == nullptr) return finish_outputs();
  ETGGML_RETURN_IF_ERROR(copy_token(plan));
  if (context_->sampled.wanted.outputs) {
    ETGGML_RETURN_IF_ERROR(finish_outputs());
  } else {
    context_->keeps_outputs = this;
    engine.wait();
  }
  take_token();
  return ok_status();
}

Status Executable::finish_outputs() {
  Engine& engine = *context_->engine;
  char* const pinned = results_.data();
  for (const Withheld& w : withheld_) {
    if (same_representation(w.tensor->type, w.dtype))
      ggml_backend_tensor_get_async(engine.backend(), w.tensor, pinned + w.place, 0, w.nbytes);
  }
  if (!withheld_.empty()) engine.wait();
  for (const Withheld& w : withheld_) {
    if (!same_representation(w.tensor->type, w.dtype)) {
      ETGGML_RETURN_IF_ERROR(read_output(w.tensor, w.dtype, w.destination, w.nbytes));
    } else if (w.destination != pinned + w.place) {
      std::memcpy(w.destination, pinned + w.place, w.nbytes);
    }
  }
  withheld_.clear();
  return ok_status();
}

Status Executable::deliver(const Plan& plan, OutputSink& sink, const std::vector<void*>& destinations) {
  context_->sampled.made = false;
  if (!context_->engine->is_cpu()) return deliver_from_device(plan, sink, destinations);
  if (plan.token() != nullptr) {
    ETGGML_RETURN_IF_ERROR(copy_token(plan));
    context_->engine->wait();
    take_token();
  }
  const auto* outputs = ir_graph_->payload().outputs();
  for (size_t i = 0; i < destinations.size(); ++i) {
    if (empty_[i]) continue;
    const ggml_tensor* tensor = plan.built().outputs[i];
    const int32_t dtype = outputs->Get(static_cast<flatbuffers::uoffset_t>(i))->dtype();
    const size_t nbytes = static_cast<size_t>(ggml_nelements(tensor)) * scalar_size(dtype);
    ggml_backend_buffer_t buffer = tensor->view_src != nullptr ? tensor->view_src->buffer : tensor->buffer;
    // Only memory that no other delegate can overwrite may be handed out: our own arena.
    const bool adopt = own_arena_ != nullptr && (destinations[i] == nullptr || sink.prefer_adopt()) &&
                       same_representation(tensor->type, dtype) && buffer != nullptr &&
                       ggml_backend_buffer_is_host(buffer);
    if (adopt) {
      sink.adopt(i, tensor->data);
      continue;
    }
    void* destination = destinations[i];
    if (destination == nullptr) {
      output_memory_[i].resize(nbytes);
      destination = output_memory_[i].data();
    }
    ETGGML_RETURN_IF_ERROR(read_output(tensor, dtype, destination, nbytes));
    if (destinations[i] == nullptr) sink.adopt(i, destination);
  }
  return ok_status();
}

void Executable::plan_totals(size_t* count, size_t* bytes) const {
  std::lock_guard<std::mutex> guard(context_->engine->mutex());
  *count = plans_.size() + (uncached_ != nullptr ? 1 : 0);
  *bytes = uncached_ != nullptr ? uncached_->bytes() : 0;
  plans_.for_each([&](const std::vector<int64_t>&, const std::unique_ptr<Plan>& plan) { *bytes += plan->bytes(); });
}

}  // namespace etggml::engine
