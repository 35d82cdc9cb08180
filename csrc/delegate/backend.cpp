#include "delegate/backend.h"

#include <executorch/runtime/backend/interface.h>
#include <executorch/runtime/core/event_tracer_hooks_delegate.h>

#include <memory>
#include <new>
#include <string>
#include <utility>

#include "delegate/arguments.h"
#include "delegate/errors.h"
#include "delegate/named_data.h"
#include "delegate/observer.h"
#include "delegate/settings.h"
#include "delegate/shared_states.h"
#include "engine/executable.h"
#include "engine/load_scope.h"
#include "graph/op_row.h"
#include "ir/graph.h"
#include "util/caught.h"
#include "util/env.h"
#include "weights/expectations.h"
#include "weights/process_weights.h"
#include "weights/report.h"

namespace etggml::delegate {
namespace {

using engine::LoadScope;
using executorch::runtime::ArrayRef;
using executorch::runtime::Backend;
using executorch::runtime::BackendExecutionContext;
using executorch::runtime::BackendInitContext;
using executorch::runtime::BackendInterface;
using executorch::runtime::BackendOption;
using executorch::runtime::BackendOptionContext;
using executorch::runtime::CompileSpec;
using executorch::runtime::DelegateHandle;
using executorch::runtime::Error;
using executorch::runtime::EValue;
using executorch::runtime::FreeableBuffer;
using executorch::runtime::Span;

struct Handle {
  std::shared_ptr<void> sharing;                   // of states with other delegates; released last
  std::unique_ptr<engine::Executable> executable;  // null when loaded only to look at it
  std::shared_ptr<engine::Context> context;
  std::vector<void*> adopted;
  InputViews inputs;
  std::string method;
  size_t index = 0;  // among our delegates of the method
};

std::string origin_of(const LoadScope* scope, const char* method, size_t index) {
  std::string text = scope != nullptr && !scope->origin.empty() ? scope->origin : "the .pte";
  text += std::string(", method '") + (method == nullptr ? "?" : method) + "'";
  return index > 0 ? text + ", delegate " + std::to_string(index) : text;
}

Result<std::unique_ptr<Handle>> load(BackendInitContext& init, const FreeableBuffer& processed) {
  LoadScope* scope = LoadScope::current();
  const size_t index = scope == nullptr ? 0 : scope->delegates++;
  auto handle = std::make_unique<Handle>();
  handle->index = index;
  if (init.get_method_name() != nullptr) handle->method = init.get_method_name();
  if (scope != nullptr && scope->mode == LoadScope::Mode::Payloads) {
    scope->payload(init.get_method_name(), processed.data(), processed.size());
    return handle;
  }
  ETGGML_ASSIGN_OR_RETURN(std::shared_ptr<const ir::Graph> ir_graph,
                          ir::Graph::parse(processed.data(), processed.size(),
                                           origin_of(scope, init.get_method_name(), index), graph::field_checks()));
  const EtNamedData named(init.get_named_data_map());
  weights::Sources sources;
  sources.named = &named;
  ETGGML_ASSIGN_OR_RETURN(sources.process, weights::process_weights());
  if (scope != nullptr && scope->mode == LoadScope::Mode::Check) {
    sources.files = scope->files;
    if (sources.files) weights::check_expectations(*ir_graph, *sources.files, scope->report);
    ETGGML_RETURN_IF_ERROR(weights::bind_weights(*ir_graph, sources, true, scope->report).status());
    return handle;
  }
  if (scope != nullptr) {
    handle->context = scope->context;
    const auto* inputs = ir_graph->payload().inputs();
    scope->delegate_inputs.push_back(inputs == nullptr ? 0 : inputs->size());
  } else {
    ETGGML_ASSIGN_OR_RETURN(handle->context, stock_context(init));
    // Contexts of a session are shared as a whole.
    if (handle->context.use_count() == 1) {
      handle->sharing = share_states(init.get_named_data_map(), handle->method, *ir_graph, handle->context.get());
    }
  }
  sources.files = handle->context->files;
  ETGGML_ASSIGN_OR_RETURN(handle->executable,
                          engine::Executable::create(handle->context, std::move(ir_graph), sources,
                                                     scope != nullptr ? scope->progress : engine::ProgressFn()));
  return handle;
}

Status run(BackendExecutionContext& context, Handle& handle, Span<EValue*> args) {
  if (handle.executable == nullptr) return error(ETGGML_INTERNAL, "this delegate was loaded for inspection only");
  const auto& graph = handle.executable->ir_graph().payload();
  const size_t n_in = graph.inputs() == nullptr ? 0 : graph.inputs()->size();
  const size_t n_out = graph.outputs() == nullptr ? 0 : graph.outputs()->size();
  if (args.size() != n_in + n_out) {
    return error(ETGGML_FORMAT, "%s: called with %zu values, the graph has %zu inputs and %zu outputs",
                 handle.executable->ir_graph().origin().c_str(), args.size(), n_in, n_out);
  }
  ETGGML_RETURN_IF_ERROR(handle.inputs.assign(args, n_in));
  // Results of a device come through pinned memory of ours. Our own callers may look at them there, as they belong to
  // the program anyway; a host that brought memory of its own gets them in it.
  const bool stay =
      handle.context->options.skip_output_copy || (engine::HostCall::active() && !handle.context->engine->is_cpu());
  EtOutputs outputs(args, n_in, &handle.adopted, stay);
  TracerObserver tracer(context.event_tracer(), handle.executable->ir_graph());
  Observers observer(tracer, handle.context->watch, handle.method, handle.index);
  return handle.executable->run(handle.inputs.data(), n_in, outputs, observer.wanted() ? &observer : nullptr);
}

class GgmlBackend final : public BackendInterface {
 public:
  bool is_available() const override { return true; }

  executorch::runtime::Result<DelegateHandle*> init(BackendInitContext& context, FreeableBuffer* processed,
                                                    ArrayRef<CompileSpec>) const override {
    std::unique_ptr<Handle> handle;
    const Status status = caught([&]() -> Status {
      ETGGML_ASSIGN_OR_RETURN(handle, load(context, *processed));
      return ok_status();
    });
    if (!status.ok()) {
      LoadScope* scope = LoadScope::current();
      if (scope != nullptr && scope->failure.ok()) scope->failure = status;
      return report(status);
    }
    processed->Free();  // the parsed program has its own copy
    return handle.release();
  }

  Error execute(BackendExecutionContext& context, DelegateHandle* handle, Span<EValue*> args) const override {
    return report(caught([&] { return run(context, *static_cast<Handle*>(handle), args); }));
  }

  Error set_option(BackendOptionContext&, const Span<BackendOption>& options) override {
    return report(caught([&] { return set_process_options(options); }));
  }

  void destroy(DelegateHandle* handle) const override { delete static_cast<Handle*>(handle); }
};

// ExecuTorch keeps the pointer for the life of the process.
Error register_once() {
  if (env_flag("EXECUTORCH_GGML_SKIP_REGISTRATION")) return Error::NotSupported;
  if (executorch::runtime::get_backend_class(kBackendId) != nullptr) return Error::RegistrationAlreadyRegistered;
  static GgmlBackend* backend = new (std::nothrow) GgmlBackend();
  if (backend == nullptr) return Error::MemoryAllocationFailed;
  return executorch::runtime::register_backend(Backend{kBackendId, backend});
}

const Error registered_at_load = register_once();

}  // namespace

Error registration() { return registered_at_load; }

}  // namespace etggml::delegate
