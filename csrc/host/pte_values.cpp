// The values of a method, as a file states them.
#include "host/pte_check.h"
#include "host/pte_tables.h"
#include "util/scalar_type.h"

namespace etggml::host::detail {
namespace {

using namespace pte;

constexpr uint32_t kMaxRank = 16;  // ExecuTorch's kTensorDimensionLimit
constexpr uint8_t kDynamicUnbound = 2;

const char* const kKinds[] = {"nothing",  "none",     "an integer", "a boolean", "a number", "a tensor",
                              "a string", "integers", "numbers",    "booleans",  "tensors",  "optional tensors"};

Status check_shape(const Table* tensor, uint32_t i, const Place& place, uint64_t* elements) {
  const Indices* sizes = indices(tensor, TensorField::kSizes);
  const auto* order = tensor->GetPointer<const Vector<uint8_t>*>(slot(TensorField::kOrder));
  if (sizes == nullptr || order == nullptr) return place.corrupt(format("tensor %u has no shape", i));
  if (sizes->size() > kMaxRank || sizes->size() != order->size())
    return place.corrupt(format("tensor %u has %u sizes and %u places of them", i, sizes->size(), order->size()));
  uint32_t seen = 0;
  *elements = 1;
  for (uint32_t d = 0; d < sizes->size(); ++d) {
    const int32_t size = sizes->Get(d);
    if (size < 0) return place.corrupt(format("tensor %u has a size of %d", i, size));
    if (order->Get(d) >= sizes->size() || (seen >> order->Get(d) & 1) != 0)
      return place.corrupt(format("the dim order of tensor %u is no permutation", i));
    seen |= 1u << order->Get(d);
    if (__builtin_mul_overflow(*elements, static_cast<uint64_t>(size), elements) || *elements > INT64_MAX / 16)
      return place.corrupt(format("tensor %u has more elements than there can be", i));
  }
  return ok_status();
}

Status check_tensor(const Table* plan, const Table* tensor, uint32_t i, const Place& place) {
  uint64_t bytes = 0;
  ETGGML_RETURN_IF_ERROR(check_shape(tensor, i, place, &bytes));
  bytes *= scalar_size(number<int8_t>(tensor, TensorField::kType));  // unknown types are ExecuTorch's to refuse
  if (number<int32_t>(tensor, 1) != 0) return place.corrupt(format("tensor %u has a storage offset", i));
  if (number<uint8_t>(tensor, TensorField::kDynamism) > kDynamicUnbound)
    return place.corrupt(format("tensor %u has an unknown kind of shape", i));
  const Table* extra = table(tensor, TensorField::kExtra);
  if (extra != nullptr && number<uint8_t>(extra, 2) == 1 && text(extra, 1) == nullptr)
    return place.corrupt(format("tensor %u has its data elsewhere, under no name", i));
  const Table* allocation = table(tensor, TensorField::kAllocation);
  if (allocation == nullptr) return ok_status();
  const auto* memories = plan->GetPointer<const Vector<int64_t>*>(slot(Plan::kBufferSizes));
  const uint32_t memory = number<uint32_t>(allocation, 0);
  const uint64_t offset = number<uint32_t>(allocation, 1) | static_cast<uint64_t>(number<uint32_t>(allocation, 2))
                                                                << 32;
  // Memory 0 is the constants'.
  if (memory == 0 || memory >= count(memories))
    return place.corrupt(format("tensor %u lies in memory %u, there are %u", i, memory, count(memories)));
  const int64_t size = memories->Get(memory);
  if (size < 0 || offset > static_cast<uint64_t>(size) || bytes > static_cast<uint64_t>(size) - offset) {
    return place.corrupt(format("tensor %u, %llu bytes at %llu, does not lie inside its memory of %lld bytes", i,
                                static_cast<unsigned long long>(bytes), static_cast<unsigned long long>(offset),
                                static_cast<long long>(size)));
  }
  return ok_status();
}

template <class T>
Status check_list(const Table* list, uint32_t n_values, int64_t least, uint32_t i, const Place& place) {
  const auto* items = list->GetPointer<const Vector<T>*>(slot(0));
  if (items == nullptr || !is_aligned(items)) return place.corrupt(format("list %u has no items", i));
  for (uint32_t k = 0; k < items->size(); ++k) {
    const int64_t item = items->Get(k);
    if (item < least || item >= static_cast<int64_t>(n_values))
      return place.corrupt(
          format("item %u of list %u is value %lld of %u", k, i, static_cast<long long>(item), n_values));
  }
  return ok_status();
}

Status check_items_are(Kind kind, const Tables* values, const Table* list, uint32_t i, const Place& place) {
  const auto* items = list->GetPointer<const Indices*>(slot(0));
  for (uint32_t k = 0; k < items->size(); ++k) {
    const int32_t item = items->Get(k);
    const uint8_t found =
        item < 0 ? static_cast<uint8_t>(kNull) : number<uint8_t>(values->Get(static_cast<uint32_t>(item)), 0);
    if (found != kind && !(kind == kTensor && found == kNull))
      return place.corrupt(format("item %u of list %u is %s, not %s", k, i, kKinds[found], kKinds[kind]));
  }
  return ok_status();
}

Status check_value(const Table* plan, const Tables* values, uint32_t i, const Place& place) {
  const uint8_t kind = number<uint8_t>(values->Get(i), 0);
  const Table* value = table(values->Get(i), 1);
  if (kind == kNone || kind > kOptionalTensorList || value == nullptr)
    return place.corrupt(format("value %u is of no known kind", i));
  switch (kind) {
    case kTensor:
      return check_tensor(plan, value, i, place);
    case kString:
      return text(value, 0) == nullptr ? place.corrupt(format("string %u has no text", i)) : ok_status();
    case kDoubleList:
      if (!is_aligned(value->GetPointer<const Vector<double>*>(slot(0))))
        return place.corrupt(format("list %u has no items", i));
      [[fallthrough]];
    case kBoolList:
      return value->CheckField(slot(0)) ? ok_status() : place.corrupt(format("list %u has no items", i));
    case kIntList:
      return check_list<int64_t>(value, values->size(), 0, i, place);
    case kTensorList:
      return check_list<int32_t>(value, values->size(), 0, i, place);
    case kOptionalTensorList:
      return check_list<int32_t>(value, values->size(), -1, i, place);
    default:
      return ok_status();
  }
}

Status check_ends(const Indices* list, uint32_t n_values, const char* what, const Place& place) {
  for (uint32_t k = 0; k < count(list); ++k) {
    const int32_t value = list->Get(k);
    if (value < 0 || static_cast<uint32_t>(value) >= n_values)
      return place.corrupt(format("%s %u is value %d of %u", what, k, value, n_values));
  }
  return ok_status();
}

}  // namespace

Status check_values(const void* raw, const Place& place) {
  const auto* plan = static_cast<const Table*>(raw);
  const Tables* values = tables(plan, Plan::kValues);
  const uint32_t n = count(values);
  if (!is_aligned(plan->GetPointer<const Vector<int64_t>*>(slot(Plan::kBufferSizes))))
    return place.corrupt("the sizes of memories lie at an odd place");
  for (uint32_t i = 0; i < n; ++i) ETGGML_RETURN_IF_ERROR(check_value(plan, values, i, place));
  for (uint32_t i = 0; i < n; ++i) {
    // The kind of every value is known by now.
    if (const Table* list = member(values->Get(i), 0, kTensorList))
      ETGGML_RETURN_IF_ERROR(check_items_are(kTensor, values, list, i, place));
    if (const Table* list = member(values->Get(i), 0, kOptionalTensorList))
      ETGGML_RETURN_IF_ERROR(check_items_are(kTensor, values, list, i, place));
  }
  ETGGML_RETURN_IF_ERROR(check_ends(indices(plan, Plan::kInputs), n, "input", place));
  return check_ends(indices(plan, Plan::kOutputs), n, "output", place);
}

}  // namespace etggml::host::detail
