// Executable: from a payload to tensors with memory.
#include <set>
#include <utility>

#include "devices/types.h"
#include "engine/executable.h"
#include "util/log.h"
#include "weights/expectations.h"

namespace etggml::engine {
namespace {

std::string misfit(const weights::Sources& sources, const std::string& origin) {
  if (sources.files) return sources.files->path() + " does not fit " + origin;
  return "the weights of " + origin + " are not all in the .pte; load it with its GGUF";
}

template <class Leaf>
std::vector<uint32_t> used(const ir::Graph& ir_graph, const Leaf* (ir::fb::Node::*as)() const,
                           uint32_t (Leaf::*index)() const) {
  std::set<uint32_t> found;
  for (uint32_t i = 0; i < ir_graph.node_count(); ++i) {
    if (!ir_graph.live(i)) continue;
    if (const Leaf* leaf = (ir_graph.node(i).*as)()) found.insert((leaf->*index)());
  }
  return {found.begin(), found.end()};
}

}  // namespace

Result<std::unique_ptr<Executable>> Executable::create(std::shared_ptr<Context> context,
                                                       std::shared_ptr<const ir::Graph> ir_graph,
                                                       const weights::Sources& sources, const ProgressFn& progress) {
  std::unique_ptr<Executable> executable(new Executable(std::move(context), std::move(ir_graph)));
  const auto& graph = executable->ir_graph_->payload();
  const size_t weights = graph.weights() == nullptr ? 0 : graph.weights()->size();
  const size_t states = graph.states() == nullptr ? 0 : graph.states()->size();
  ETGGML_ASSIGN_OR_RETURN(executable->tensors_, devices::make_context(weights + states));
  executable->weights_.resize(weights);
  executable->states_.resize(states);
  ETGGML_RETURN_IF_ERROR(executable->load_weights(sources, progress));
  ETGGML_RETURN_IF_ERROR(executable->load_states(sources.named));
  ETGGML_RETURN_IF_ERROR(executable->load_constants());
  if (executable->context_->options.skip_output_copy) {
    ETGGML_ASSIGN_OR_RETURN(executable->own_arena_, Arena::create(executable->context_->engine->buffer_type()));
  }
  executable->context_->add(executable.get());
  return executable;
}

Executable::~Executable() { context_->remove(this); }

Status Executable::load_weights(const weights::Sources& sources, const ProgressFn& progress) {
  const Engine& engine = *context_->engine;
  weights::Report report;
  if (sources.files) {
    ETGGML_RETURN_IF_ERROR(sources.files->check_unchanged());
    weights::check_expectations(*ir_graph_, *sources.files, &report);
  }
  ETGGML_ASSIGN_OR_RETURN(const std::vector<weights::BoundSlot> slots,
                          weights::bind_weights(*ir_graph_, sources, engine.is_cpu(), &report));
  report.finish();
  ETGGML_RETURN_IF_ERROR(report.status(misfit(sources, ir_graph_->origin())));

  std::set<std::shared_ptr<const gguf::FileSet>> files;
  size_t copied = 0;
  InterruptClock interrupts;
  for (size_t i = 0; i < slots.size(); ++i) {
    const weights::BoundSlot& slot = slots[i];
    if (interrupts.interrupted()) return error(ETGGML_CANCELLED, "loading was interrupted");
    if (progress && !progress(static_cast<double>(i) / static_cast<double>(slots.size()))) {
      return error(ETGGML_CANCELLED, "loading was cancelled");
    }
    const std::shared_ptr<const gguf::FileSet>& from = slot.parts.front().files;
    if (from) files.insert(from);
    weights::WeightStore& store = from ? *context_->store_of(*from) : *context_->embedded;
    size_t private_bytes = 0;
    ETGGML_ASSIGN_OR_RETURN(const devices::Storage storage, store.place(slot, &private_bytes));
    ggml_tensor* tensor = ggml_new_tensor(tensors_.get(), slot.type, GGML_MAX_DIMS, slot.ne.data());
    ggml_set_name(tensor, slot.name.c_str());  // truncates to ggml's 63 bytes
    ETGGML_RETURN_IF_ERROR(devices::attach(tensor, storage));
    weights_[slot.slot] = tensor;
    storages_.push_back(storage);
    uses_.push_back({tensor->data, ggml_nbytes(tensor), private_bytes});
    copied += private_bytes;
  }
  files_.assign(files.begin(), files.end());
  log(ETGGML_LOG_INFO, "%s: %zu weights, %zu bytes of them in private copies", ir_graph_->origin().c_str(),
      uses_.size(), copied);
  return ok_status();
}

Status Executable::load_states(const weights::NamedData* named) {
  for (uint32_t slot : used<ir::fb::StateLeaf>(*ir_graph_, &ir::fb::Node::op_as_StateLeaf, &ir::fb::StateLeaf::slot)) {
    StateInfo info;
    ETGGML_ASSIGN_OR_RETURN(const devices::Storage storage, context_->states->get(*ir_graph_, slot, named, &info));
    ggml_tensor* tensor = ggml_new_tensor(tensors_.get(), info.type, GGML_MAX_DIMS, info.ne.data());
    ggml_set_name(tensor, info.name.c_str());
    ETGGML_RETURN_IF_ERROR(devices::attach(tensor, storage));
    states_[slot] = tensor;
    storages_.push_back(storage);
  }
  return ok_status();
}

Status Executable::load_constants() {
  const auto* list = ir_graph_->payload().constants();
  const std::vector<uint32_t> needed =
      used<ir::fb::ConstLeaf>(*ir_graph_, &ir::fb::Node::op_as_ConstLeaf, &ir::fb::ConstLeaf::constant);
  if (list == nullptr || needed.empty()) return ok_status();
  constants_.resize(list->size());
  ETGGML_ASSIGN_OR_RETURN(constant_context_, devices::make_context(needed.size()));
  for (uint32_t i : needed) {
    const auto ne = ir_graph_->shape(list->Get(i)->shape(), {});
    constants_[i] = ggml_new_tensor(constant_context_.get(), static_cast<ggml_type>(list->Get(i)->type()),
                                    GGML_MAX_DIMS, ne.data());
    ggml_format_name(constants_[i], "const_%u", i);
  }
  constant_buffer_.reset(
      ggml_backend_alloc_ctx_tensors_from_buft(constant_context_.get(), context_->engine->buffer_type()));
  if (constant_buffer_ == nullptr)
    return error(ETGGML_OUT_OF_MEMORY, "cannot allocate the constants of %s", ir_graph_->origin().c_str());
  for (uint32_t i : needed) {
    const auto* data = list->Get(i)->data();
    if (data == nullptr || data->size() != ggml_nbytes(constants_[i])) {
      return error(ETGGML_FORMAT, "%s: constant %u has %u bytes, its shape and type need %zu",
                   ir_graph_->origin().c_str(), i, data == nullptr ? 0u : data->size(), ggml_nbytes(constants_[i]));
    }
    ggml_backend_tensor_set(constants_[i], data->data(), 0, data->size());
  }
  return ok_status();
}

Status Executable::check_files() const {
  for (const auto& files : files_) ETGGML_RETURN_IF_ERROR(files->check_unchanged());
  return ok_status();
}

}  // namespace etggml::engine
