// Memory for the descriptors of tensors, which grows: nobody has to know before how many a graph takes.
#pragma once

#include <vector>

#include "devices/memory.h"
#include "ggml.h"

namespace etggml::devices {

class TensorContexts {
 public:
  /// Tensors that may be made before room() is asked again.
  static constexpr size_t kRoom = 64;

  /// Space for `expected` tensors comes first, in one piece.
  explicit TensorContexts(size_t expected) : next_(expected) {}
  TensorContexts() = default;

  /// A no_alloc context with space for `tensors` more. Throws std::bad_alloc.
  ggml_context* room(size_t tensors = kRoom);
  /// A graph of at most `entries` nodes and leaves. Throws std::bad_alloc.
  ggml_cgraph* graph(size_t entries);

  /// Every tensor, in the order in which they were made.
  template <class F>
  void each(F&& f) const {
    for (const ContextPtr& context : contexts_) {
      for (ggml_tensor* t = ggml_get_first_tensor(context.get()); t != nullptr;
           t = ggml_get_next_tensor(context.get(), t)) {
        f(t);
      }
    }
  }
  size_t count() const;
  size_t bytes() const;
  /// Most tensors that were made between two calls of room(). More than kRoom is a fault of the caller's.
  size_t most() const { return most_; }
  const std::vector<ContextPtr>& contexts() const { return contexts_; }

 private:
  std::vector<ContextPtr> contexts_, graphs_;
  size_t next_ = 0;  // tensors of the next context
  size_t used_ = 0;  // bytes of the last one when room() was called
  size_t most_ = 0;
};

/// Memory on a device for every tensor that has none, and addresses for views of them.
Result<std::vector<BufferPtr>> place_all(const TensorContexts& tensors, ggml_backend_buffer_type_t type);
/// Addresses for views of tensors that have memory.
Status place_views(const TensorContexts& tensors);

}  // namespace etggml::devices
