#include "devices/contexts.h"

#include <algorithm>
#include <new>

#include "util/room.h"

namespace etggml::devices {
namespace {

constexpr size_t kLeast = 256;  // tensors of a further context

ContextPtr make(size_t bytes) {
  ggml_init_params params = {};
  params.mem_size = bytes;
  params.no_alloc = true;
  ContextPtr context(room_for(bytes) ? ggml_init(params) : nullptr);
  if (context == nullptr) throw std::bad_alloc();
  return context;
}

}  // namespace

ggml_context* TensorContexts::room(size_t tensors) {
  const size_t needed = tensors * ggml_tensor_overhead();
  if (!contexts_.empty()) {
    ggml_context* last = contexts_.back().get();
    const size_t used = ggml_used_mem(last);
    most_ = std::max(most_, (used - used_) / ggml_tensor_overhead());
    used_ = used;
    if (ggml_get_mem_size(last) - used >= needed) return last;
  }
  const size_t made = std::max(next_, tensors);
  next_ = std::max(made / 2, kLeast);
  used_ = 0;
  contexts_.push_back(make(made * ggml_tensor_overhead()));
  return contexts_.back().get();
}

ggml_cgraph* TensorContexts::graph(size_t entries) {
  graphs_.push_back(make(ggml_graph_overhead_custom(entries, false)));
  return ggml_new_graph_custom(graphs_.back().get(), entries, false);
}

size_t TensorContexts::count() const {
  size_t n = 0;
  each([&n](const ggml_tensor*) { ++n; });
  return n;
}

size_t TensorContexts::bytes() const {
  size_t total = 0;
  for (const auto* owned : {&contexts_, &graphs_}) {
    for (const ContextPtr& context : *owned) total += ggml_get_mem_size(context.get());
  }
  return total;
}

Status place_views(const TensorContexts& tensors) {
  Status status = ok_status();
  tensors.each([&status](ggml_tensor* t) {
    if (!status.ok() || t->view_src == nullptr || t->buffer != nullptr || t->view_src->buffer == nullptr) return;
    if (ggml_backend_view_init(t) != GGML_STATUS_SUCCESS)
      status = error(ETGGML_DEVICE, "tensor '%s' could not be placed", t->name);
  });
  return status;
}

Result<std::vector<BufferPtr>> place_all(const TensorContexts& tensors, ggml_backend_buffer_type_t type) {
  std::vector<BufferPtr> buffers;
  for (const ContextPtr& context : tensors.contexts()) {
    bool needs = false;
    for (ggml_tensor* t = ggml_get_first_tensor(context.get()); t != nullptr;
         t = ggml_get_next_tensor(context.get(), t)) {
      needs = needs || (t->data == nullptr && t->view_src == nullptr);
    }
    if (!needs) continue;
    buffers.emplace_back(ggml_backend_alloc_ctx_tensors_from_buft(context.get(), type));
    if (buffers.back() == nullptr) return error(ETGGML_OUT_OF_MEMORY, "cannot allocate the intermediate results");
  }
  ETGGML_RETURN_IF_ERROR(place_views(tensors));
  return buffers;
}

}  // namespace etggml::devices
