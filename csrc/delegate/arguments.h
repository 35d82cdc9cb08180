// Between ExecuTorch's argument values and the runtime's: the one place that touches the memory of delegate arguments.
#pragma once

#include <executorch/runtime/core/evalue.h>
#include <executorch/runtime/core/span.h>

#include <array>
#include <cstdint>
#include <vector>

#include "engine/executable.h"
#include "ir/graph.h"

namespace etggml::delegate {

/// Views of a delegate's inputs; valid as long as this object and the values.
class InputViews {
 public:
  /// ETGGML_INVALID_ARGUMENT for a value that is neither tensor nor number, or a tensor that is not row-major
  /// contiguous.
  Status assign(executorch::runtime::Span<executorch::runtime::EValue*> values, size_t count);
  const ir::InputView* data() const { return views_.data(); }
  size_t size() const { return views_.size(); }

 private:
  union Number {
    int64_t i;
    double d;
    bool b;
  };
  std::vector<ir::InputView> views_;
  std::vector<std::array<int64_t, ir::kMaxRank>> dims_;
  std::vector<Number> numbers_;
};

/// Writes results into ExecuTorch's output tensors: resized first, given our memory where they have none.
class EtOutputs final : public engine::OutputSink {
 public:
  /// `adopted`: by output, our pointer that the tensor was given in an earlier call (updated).
  EtOutputs(executorch::runtime::Span<executorch::runtime::EValue*> values, size_t first, std::vector<void*>* adopted,
            bool prefer_adopt)
      : values_(values), first_(first), adopted_(adopted), prefer_adopt_(prefer_adopt) {}

  Status resize(size_t index, int32_t dtype, const std::vector<int64_t>& dims, size_t nbytes, void** data) override;
  void adopt(size_t index, void* data) override;
  bool prefer_adopt() const override { return prefer_adopt_; }

 private:
  executorch::runtime::Span<executorch::runtime::EValue*> values_;
  size_t first_;
  std::vector<void*>* adopted_;
  bool prefer_adopt_;
};

}  // namespace etggml::delegate
