// Inputs of the CPU that kernels read where the caller has them.
#pragma once

#include <vector>

#include "graph/build.h"

namespace etggml::engine {

/// The inputs of a graph, by Built.host_inputs. Large ones can be read in place if nothing writes to them and no output
/// is a view of them. Their tensors, and the views of those, then point to memory of the caller during a call.
class BorrowedInputs {
 public:
  /// After the graph has memory, which stays where it is.
  void find(const graph::Built& built);

  /// Lets input i read `data` (nullptr: none), or else gives it its own memory back; whether it borrows.
  bool borrow(size_t i, const void* data);

 private:
  struct View {
    ggml_tensor* tensor;
    size_t offset;
  };
  struct Input {
    bool allowed = false;
    void* own = nullptr;
    std::vector<View> readers;  // the tensor itself is the first
  };
  std::vector<Input> inputs_;
};

}  // namespace etggml::engine
