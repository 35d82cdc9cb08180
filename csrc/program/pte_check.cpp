#include "program/pte_check.h"

#include "program/pte_tables.h"

namespace etggml::program {
namespace {

using namespace pte;
using detail::Place;

constexpr struct {
  int id;
  const char* name;
} kDelegateFields[] = {{0, "id"}, {1, "data"}, {2, "compile specs"}}, kSpecFields[] = {{0, "key"}, {1, "value"}};

Status check_delegates(const Table* program, const Table* plan, const Place& place) {
  const Tables* delegates = tables(plan, Plan::kDelegates);
  for (uint32_t d = 0; d < count(delegates); ++d) {
    const Table* delegate = delegates->Get(d);
    for (const auto& field : kDelegateFields) {
      if (!delegate->CheckField(slot(field.id))) return place.corrupt(format("delegate %u has no %s", d, field.name));
    }
    const Tables* specs = tables(delegate, 2);
    for (uint32_t s = 0; s < specs->size(); ++s) {
      for (const auto& field : kSpecFields) {
        if (!specs->Get(s)->CheckField(slot(field.id)))
          return place.corrupt(format("compile spec %u of delegate %u has no %s", s, d, field.name));
      }
    }
    const Table* data = table(delegate, 1);
    const uint32_t index = number<uint32_t>(data, 1);
    const uint8_t location = number<uint8_t>(data, 0);
    const Tables* held = tables(program, location == 0 ? Program::kInlineDelegates : Program::kSegments);
    if (location > 1 || index >= count(held) || (location == 0 && !held->Get(index)->CheckField(slot(0))))
      return place.corrupt(format("delegate %u has its data nowhere (location %u, index %u)", d, location, index));
  }
  return ok_status();
}

Status check_operators(const Table* plan, const Place& place) {
  const Tables* operators = tables(plan, Plan::kOperators);
  for (uint32_t i = 0; i < count(operators); ++i) {
    const String* name = text(operators->Get(i), 0);
    if (name == nullptr || name->size() == 0) return place.corrupt(format("operator %u has no name", i));
  }
  return ok_status();
}

// Constants and named data, which ExecuTorch looks up by these tables.
Status check_data(const Table* program, const Place& place) {
  const Tables* named = tables(program, Program::kNamedData);
  for (uint32_t i = 0; i < count(named); ++i) {
    if (text(named->Get(i), 0) == nullptr) return place.corrupt(format("named data %u has no key", i));
  }
  const Table* constants = table(program, Program::kConstantSegment);
  if (constants != nullptr && !constants->CheckField(slot(1))) return place.corrupt("the constants have no offsets");
  const Tables* mutables = tables(program, Program::kMutableSegments);
  for (uint32_t i = 0; i < count(mutables); ++i) {
    if (!mutables->Get(i)->CheckField(slot(1)))
      return place.corrupt(format("segment %u of initial values has no offsets", i));
  }
  const Tables* buffers = tables(program, Program::kConstants);
  for (uint32_t i = 1; i < count(buffers); ++i) {
    if (!buffers->Get(i)->CheckField(slot(0))) return place.corrupt(format("constant %u has no data", i));
  }
  return ok_status();
}

}  // namespace

Status detail::Place::corrupt(const std::string& text) const {
  return error(ETGGML_FORMAT, "%s%s: %s; the file is corrupt", path.c_str(),
               method.empty() ? "" : (", method '" + method + "'").c_str(), text.c_str());
}

Status check_pte(const void* data, const std::string& path) {
  const Table* program = root(data);
  ETGGML_RETURN_IF_ERROR(check_data(program, Place{path, ""}));
  const Tables* plans = tables(program, Program::kPlans);
  for (uint32_t p = 0; p < count(plans); ++p) {
    const Table* plan = plans->Get(p);
    const String* name = text(plan, Plan::kName);
    const Place place{path, name == nullptr ? std::to_string(p) : name->str()};
    ETGGML_RETURN_IF_ERROR(check_delegates(program, plan, place));
    ETGGML_RETURN_IF_ERROR(check_operators(plan, place));
    ETGGML_RETURN_IF_ERROR(detail::check_values(plan, place));
    ETGGML_RETURN_IF_ERROR(detail::check_instructions(plan, place));
  }
  return ok_status();
}

std::string result_structure(const void* data, const std::string& method) {
  const Tables* plans = tables(root(data), Program::kPlans);
  for (uint32_t p = 0; p < count(plans); ++p) {
    const String* name = text(plans->Get(p), Plan::kName);
    const Table* structure = table(plans->Get(p), Plan::kStructure);
    if (name == nullptr || structure == nullptr || name->str() != method) continue;
    const String* results = text(structure, 1);
    return results == nullptr ? std::string() : results->str();
  }
  return {};
}

Status check_delegate_results(const void* data, const std::string& path, const std::string& method,
                              const std::vector<size_t>& n_inputs) {
  const Tables* plans = tables(root(data), Program::kPlans);
  for (uint32_t p = 0; p < count(plans); ++p) {
    const Table* plan = plans->Get(p);
    const String* name = text(plan, Plan::kName);
    if (name == nullptr || name->str() != method) continue;
    const Place place{path, method};
    // Which of the method's delegates is which of ours.
    std::vector<size_t> inputs_of;
    size_t ours = 0;
    const Tables* delegates = tables(plan, Plan::kDelegates);
    for (uint32_t d = 0; d < count(delegates); ++d) {
      const bool mine = text(delegates->Get(d), 0)->str() == "GgmlBackend" && ours < n_inputs.size();
      inputs_of.push_back(mine ? n_inputs[ours++] : SIZE_MAX);
    }
    const std::vector<bool> constant = detail::constants(plan);
    const Tables* chains = tables(plan, Plan::kChains);
    for (uint32_t c = 0; c < count(chains); ++c) {
      const Tables* instructions = tables(chains->Get(c), 2);
      for (uint32_t i = 0; i < count(instructions); ++i) {
        const Table* call = member(instructions->Get(i), 0, kDelegate);
        if (call == nullptr) continue;
        const Indices* args = indices(call, 1);
        for (size_t a = inputs_of[static_cast<size_t>(number<int32_t>(call, 0))]; a < count(args); ++a) {
          const int32_t value = args->Get(static_cast<flatbuffers::uoffset_t>(a));
          if (constant[static_cast<size_t>(value)])
            return place.corrupt(format("instruction %u writes a result to value %d, a constant", i, value));
        }
      }
    }
    return ok_status();  // ExecuTorch takes the first of a name
  }
  return ok_status();
}

}  // namespace etggml::program
