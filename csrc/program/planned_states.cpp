#include "program/planned_states.h"

#include <flatbuffers/flatbuffers.h>

#include <set>
#include <utility>

#include "util/scalar_type.h"

namespace etggml::program {
namespace {

using flatbuffers::Offset;
using flatbuffers::Table;
using flatbuffers::Vector;
using Tables = Vector<Offset<Table>>;

// Where a table's vtable keeps field `id` (numbered from 0 in the schema, executorch/exir/_serialize/program.fbs; a
// union takes two).
constexpr flatbuffers::voffset_t slot(int id) { return static_cast<flatbuffers::voffset_t>(4 + 2 * id); }

constexpr auto kProgramPlans = slot(1);
constexpr auto kPlanName = slot(0), kPlanValues = slot(2);
constexpr auto kValueType = slot(0), kValue = slot(1);
constexpr uint8_t kTensor = 5;
constexpr auto kDtype = slot(0), kSizes = slot(2), kDataIndex = slot(5), kPlace = slot(6);
constexpr auto kMemory = slot(0), kOffsetLow = slot(1), kOffsetHigh = slot(2);

// The tensor of a value if it is a state, with its place; its name is not known here.
bool read_state(const Table& value, PlannedState* out) {
  if (value.GetField<uint8_t>(kValueType, 0) != kTensor) return false;
  const Table* tensor = value.GetPointer<const Table*>(kValue);
  if (tensor == nullptr || tensor->GetField<uint32_t>(kDataIndex, 0) == 0) return false;
  const Table* place = tensor->GetPointer<const Table*>(kPlace);
  if (place == nullptr) return false;
  const uint32_t memory = place->GetField<uint32_t>(kMemory, 0);
  out->dtype = tensor->GetField<int8_t>(kDtype, 0);
  out->bytes = scalar_size(out->dtype);
  const auto* sizes = tensor->GetPointer<const Vector<int32_t>*>(kSizes);
  for (uint32_t d = 0; sizes != nullptr && d < sizes->size(); ++d) {
    const int64_t size = sizes->Get(d);
    if (size <= 0 || out->bytes > SIZE_MAX / static_cast<size_t>(size)) return false;
    out->shape.push_back(size);
    out->bytes *= static_cast<size_t>(size);
  }
  if (memory == 0 || out->bytes == 0) return false;
  out->buffer = memory - 1;
  out->offset =
      place->GetField<uint32_t>(kOffsetLow, 0) | static_cast<uint64_t>(place->GetField<uint32_t>(kOffsetHigh, 0)) << 32;
  return true;
}

}  // namespace

Result<PlannedStates> read_planned_states(const void* data, const std::string& path) {
  PlannedStates out;
  const auto* plans = flatbuffers::GetRoot<Table>(data)->GetPointer<const Tables*>(kProgramPlans);
  for (uint32_t p = 0; plans != nullptr && p < plans->size(); ++p) {
    const auto* name = plans->Get(p)->GetPointer<const flatbuffers::String*>(kPlanName);
    const auto* values = plans->Get(p)->GetPointer<const Tables*>(kPlanValues);
    if (name == nullptr || values == nullptr) continue;
    std::vector<PlannedState>& states = out[name->str()];
    std::set<std::pair<size_t, uint64_t>> places;  // views of a state follow it, in its place
    for (uint32_t v = 0; v < values->size(); ++v) {
      PlannedState state;
      if (values->Get(v) == nullptr || !read_state(*values->Get(v), &state)) continue;
      if (state.offset > SIZE_MAX - state.bytes) {
        return error(ETGGML_FORMAT, "%s, method '%s': value %u has an impossible place in memory", path.c_str(),
                     name->c_str(), v);
      }
      if (places.emplace(state.buffer, state.offset).second) states.push_back(std::move(state));
    }
  }
  return out;
}

Status name_planned_states(const Json& names, const std::string& path, PlannedStates* states) {
  for (auto& [method, found] : *states) {
    const auto listed = names.find(method);
    if (listed == names.end()) continue;
    bool fits = listed->is_array() && listed->size() == found.size();
    for (size_t i = 0; fits && i < found.size(); ++i) {
      fits = (*listed)[i].is_string();
      if (fits) found[i].name = (*listed)[i].get<std::string>();
    }
    if (!fits) {
      return error(ETGGML_FORMAT,
                   "%s, method '%s': the list of states does not fit the %zu in the method; export again", path.c_str(),
                   method.c_str(), found.size());
    }
  }
  return ok_status();
}

}  // namespace etggml::program
