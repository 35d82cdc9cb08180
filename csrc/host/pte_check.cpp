#include "host/pte_check.h"

#include <flatbuffers/flatbuffers.h>

namespace etggml::host {
namespace {

using flatbuffers::Offset;
using flatbuffers::Table;
using flatbuffers::Vector;
using Tables = Vector<Offset<Table>>;

// Where a table's vtable keeps field `id` (numbered from 0 in the schema, executorch/exir/_serialize/program.fbs).
constexpr flatbuffers::voffset_t slot(int id) { return static_cast<flatbuffers::voffset_t>(4 + 2 * id); }

constexpr auto kProgramPlans = slot(1);
constexpr auto kPlanDelegates = slot(7);
constexpr struct {
  flatbuffers::voffset_t slot;
  const char* name;
} kDelegateFields[] = {{slot(0), "id"}, {slot(1), "data"}, {slot(2), "compile specs"}},
  kSpecFields[] = {{slot(0), "key"}, {slot(1), "value"}};

}  // namespace

Status check_delegates(const void* data, const std::string& path) {
  const auto* plans = flatbuffers::GetRoot<Table>(data)->GetPointer<const Tables*>(kProgramPlans);
  for (uint32_t p = 0; plans != nullptr && p < plans->size(); ++p) {
    const auto* delegates = plans->Get(p)->GetPointer<const Tables*>(kPlanDelegates);
    for (uint32_t d = 0; delegates != nullptr && d < delegates->size(); ++d) {
      const Table* delegate = delegates->Get(d);
      for (const auto& field : kDelegateFields) {
        if (!delegate->CheckField(field.slot)) {
          return error(ETGGML_FORMAT, "%s: delegate %u of method %u has no %s; the file is corrupt", path.c_str(), d, p,
                       field.name);
        }
      }
      const auto* specs = delegate->GetPointer<const Tables*>(slot(2));
      for (uint32_t s = 0; s < specs->size(); ++s) {
        for (const auto& field : kSpecFields) {
          if (!specs->Get(s)->CheckField(field.slot)) {
            return error(ETGGML_FORMAT,
                         "%s: compile spec %u of delegate %u of method %u has no %s; the file is corrupt", path.c_str(),
                         s, d, p, field.name);
          }
        }
      }
    }
  }
  return ok_status();
}

}  // namespace etggml::host
