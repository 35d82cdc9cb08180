// The instructions of a method, as a file states them.
#include <algorithm>
#include <map>

#include "program/pte_check.h"
#include "program/pte_tables.h"

namespace etggml::program::detail {
namespace {

using namespace pte;

bool is_constant(const Table* tensor) {
  const Table* extra = table(tensor, TensorField::kExtra);
  const bool elsewhere = extra != nullptr && number<uint8_t>(extra, 2) == 1;
  return table(tensor, TensorField::kAllocation) == nullptr &&
         (elsewhere || number<uint32_t>(tensor, TensorField::kBuffer) > 0);
}

class Checker {
 public:
  Checker(const Table* plan, const Place& place)
      : plan_(plan),
        place_(place),
        values_(tables(plan, Plan::kValues)),
        n_values_(count(values_)),
        constant_(constants(plan)),
        filled_(n_values_, false) {
    for (uint32_t i = 0; i < n_values_; ++i) {
      const Table* tensor = tensor_of(values_, i);
      filled_[i] = tensor == nullptr || constant_[i] || table(tensor, TensorField::kAllocation) != nullptr;
    }
  }

  Status run() {
    const Indices* inputs = indices(plan_, Plan::kInputs);
    for (uint32_t k = 0; k < count(inputs); ++k) {
      const auto value = static_cast<uint32_t>(inputs->Get(k));
      if (constant_[value]) return place_.corrupt(format("input %u is value %u, a constant", k, value));
      filled_[value] = true;
    }
    const Tables* chains = tables(plan_, Plan::kChains);
    if (count(chains) == 0) return place_.corrupt("it has no instructions");
    for (uint32_t c = 0; c < chains->size(); ++c) {
      const Tables* list = tables(chains->Get(c), 2);
      if (list == nullptr) return place_.corrupt("a chain has no instructions");
      skipping_.clear();
      for (at_ = 0; at_ < list->size(); ++at_) {
        land();
        ETGGML_RETURN_IF_ERROR(check(list->Get(at_), list->size()));
      }
    }
    return ok_status();
  }

 private:
  Status corrupt(const std::string& text) const { return place_.corrupt(format("instruction %u ", at_) + text); }

  Status check(const Table* instruction, uint32_t n_instructions) {
    const uint8_t kind = number<uint8_t>(instruction, 0);
    const Table* call = table(instruction, 1);
    if (call == nullptr) return corrupt("has no arguments");
    switch (kind) {
      case kKernel:
        return kernel(call);
      case kDelegate:
        return delegate(call);
      case kMove:
        return move(call);
      case kJump: {
        ETGGML_RETURN_IF_ERROR(value(number<int32_t>(call, 0)));
        const int32_t to = number<int32_t>(call, 1);
        // One beyond the last is the end.
        if (to < 0 || static_cast<uint32_t>(to) > n_instructions) return corrupt(format("jumps to %d", to));
        if (static_cast<uint32_t>(to) > at_) skipping_.emplace(static_cast<uint32_t>(to), filled_);
        return ok_status();
      }
      case kFree: {
        const int32_t freed = number<int32_t>(call, 0);
        ETGGML_RETURN_IF_ERROR(value(freed));
        const Table* tensor = tensor_of(values_, static_cast<uint32_t>(freed));
        // Freed memory is a null pointer to every later instruction and call, which kernels do not expect.
        if (tensor == nullptr || filled_[static_cast<size_t>(freed)])
          return corrupt(format("frees value %d, whose memory was planned", freed));
        return ok_status();
      }
      default:
        return corrupt(format("is of the unknown kind %u", kind));
    }
  }

  // Tensors that a jump to here left out have no memory here.
  void land() {
    for (auto range = skipping_.equal_range(at_); range.first != range.second; ++range.first) {
      for (size_t i = 0; i < filled_.size(); ++i) filled_[i] = filled_[i] && range.first->second[i];
    }
  }

  Status value(int32_t index) const {
    if (index >= 0 && static_cast<uint32_t>(index) < n_values_) return ok_status();
    return corrupt(format("names value %d of %u", index, n_values_));
  }

  Status arguments(const Table* call, const Indices** out) const {
    *out = indices(call, 1);
    if (*out == nullptr) return corrupt("has no arguments");
    for (uint32_t k = 0; k < (*out)->size(); ++k) ETGGML_RETURN_IF_ERROR(value((*out)->Get(k)));
    return ok_status();
  }

  Status kernel(const Table* call) {
    const Tables* operators = tables(plan_, Plan::kOperators);
    const int32_t op = number<int32_t>(call, 0);
    if (op < 0 || static_cast<uint32_t>(op) >= count(operators))
      return corrupt(format("calls operator %d of %u", op, count(operators)));
    const Indices* args;
    ETGGML_RETURN_IF_ERROR(arguments(call, &args));
    if (args->size() == 0) return ok_status();
    const std::string name = text(operators->Get(static_cast<uint32_t>(op)), 0)->str();
    const auto last = static_cast<uint32_t>(args->Get(args->size() - 1));
    ETGGML_RETURN_IF_ERROR(written(last));
    for (uint32_t k = args->size() - 1 - std::min(results(last), args->size() - 1); k + 1 < args->size(); ++k)
      ETGGML_RETURN_IF_ERROR(written(static_cast<uint32_t>(args->Get(k))));
    if (name.back() == '_' || name == "executorch_prim::et_copy_index")
      ETGGML_RETURN_IF_ERROR(written(static_cast<uint32_t>(args->Get(0))));
    if (name == "executorch_prim::et_view") filled_[last] = true;
    for (uint32_t k = 0; k < args->size(); ++k) {
      const auto arg = static_cast<uint32_t>(args->Get(k));
      if (!filled_[arg]) {
        return corrupt(format("gives a kernel tensor %u, which has no memory; export with memory planned for it", arg));
      }
    }
    return ok_status();
  }

  // The last argument is the result, a tensor or a list of them. Before it come the same tensors one by one, as the
  // memory to write to.
  uint32_t results(uint32_t last) const {
    if (tensor_of(values_, last) != nullptr) return 1;
    const Table* list = member(values_->Get(last), 0, kTensorList);
    return list == nullptr ? 0 : count(indices(list, 0));
  }

  Status written(uint32_t index) const {
    if (constant_[index]) return corrupt(format("writes a result to value %u, a constant", index));
    const Table* list = member(values_->Get(index), 0, kTensorList);
    const Indices* items = list == nullptr ? nullptr : indices(list, 0);
    for (uint32_t k = 0; k < count(items); ++k) {
      if (constant_[static_cast<size_t>(items->Get(k))])
        return corrupt(format("writes a result to value %d, a constant", items->Get(k)));
    }
    return ok_status();
  }

  Status delegate(const Table* call) {
    const int32_t index = number<int32_t>(call, 0);
    const uint32_t n = count(tables(plan_, Plan::kDelegates));
    if (index < 0 || static_cast<uint32_t>(index) >= n) return corrupt(format("calls delegate %d of %u", index, n));
    const Indices* args;
    ETGGML_RETURN_IF_ERROR(arguments(call, &args));
    // A delegate lends memory to a result that has none.
    for (uint32_t k = 0; k < args->size(); ++k) filled_[static_cast<size_t>(args->Get(k))] = true;
    return ok_status();
  }

  Status move(const Table* call) {
    const int32_t from = number<int32_t>(call, 0), to = number<int32_t>(call, 1);
    ETGGML_RETURN_IF_ERROR(value(from));
    ETGGML_RETURN_IF_ERROR(value(to));
    if (!filled_[static_cast<size_t>(from)]) filled_[static_cast<size_t>(to)] = false;
    return ok_status();
  }

  const Table* plan_;
  const Place& place_;
  const Tables* values_;
  uint32_t n_values_;
  std::vector<bool> constant_;
  std::vector<bool> filled_;                             // has memory, or needs none
  std::multimap<uint32_t, std::vector<bool>> skipping_;  // by the target of a jump: the tensors filled at its source
  uint32_t at_ = 0;
};

}  // namespace

std::vector<bool> constants(const void* raw) {
  const auto* plan = static_cast<const Table*>(raw);
  const Tables* values = tables(plan, Plan::kValues);
  std::vector<bool> constant(count(values), false);
  for (uint32_t i = 0; i < constant.size(); ++i) {
    const Table* tensor = tensor_of(values, i);
    constant[i] = tensor != nullptr && is_constant(tensor);
  }
  // A move makes a constant of its target. Moves may follow each other in any order, by jumps.
  const Tables* chains = tables(plan, Plan::kChains);
  for (bool changed = true; changed;) {
    changed = false;
    for (uint32_t c = 0; c < count(chains); ++c) {
      const Tables* list = tables(chains->Get(c), 2);
      for (uint32_t i = 0; i < count(list); ++i) {
        const Table* call = member(list->Get(i), 0, kMove);
        if (call == nullptr) continue;
        const auto from = static_cast<uint32_t>(number<int32_t>(call, 0));
        const auto to = static_cast<uint32_t>(number<int32_t>(call, 1));
        if (from >= constant.size() || to >= constant.size() || !constant[from] || constant[to]) continue;
        changed = constant[to] = true;
      }
    }
  }
  return constant;
}

Status check_instructions(const void* plan, const Place& place) {
  return Checker(static_cast<const Table*>(plan), place).run();
}

}  // namespace etggml::program::detail
