// The tables of a .pte that ExecuTorch's schema (executorch/schema/program.fbs) describes, by the numbers of their
// fields: its generated header belongs to another version of FlatBuffers and is not installed.
#pragma once

#include <flatbuffers/flatbuffers.h>

#include <cstdint>

namespace etggml::program::pte {

using flatbuffers::String;
using flatbuffers::Table;
template <class T>
using Vector = flatbuffers::Vector<T>;
using Tables = Vector<flatbuffers::Offset<Table>>;
using Indices = Vector<int32_t>;

/// Where a table's vtable keeps field `id`, numbered from 0 in the schema. A union counts twice: its type, its value.
constexpr flatbuffers::voffset_t slot(int id) { return static_cast<flatbuffers::voffset_t>(4 + 2 * id); }

struct Program {
  static constexpr int kPlans = 1, kConstants = 2, kInlineDelegates = 3, kSegments = 4, kConstantSegment = 5,
                       kMutableSegments = 6, kNamedData = 7;
};
struct Plan {
  static constexpr int kName = 0, kStructure = 1, kValues = 2, kInputs = 3, kOutputs = 4, kChains = 5, kOperators = 6,
                       kDelegates = 7, kBufferSizes = 8;
};
struct TensorField {
  static constexpr int kType = 0, kSizes = 2, kOrder = 3, kBuffer = 5, kAllocation = 6, kDynamism = 8, kExtra = 9;
};
enum Kind : uint8_t {
  kNone = 0,
  kNull,
  kInt,
  kBool,
  kDouble,
  kTensor,
  kString,
  kIntList,
  kDoubleList,
  kBoolList,
  kTensorList,
  kOptionalTensorList
};
enum Call : uint8_t { kKernel = 1, kDelegate, kMove, kJump, kFree };

inline const Table* root(const void* data) { return flatbuffers::GetRoot<Table>(data); }
inline const Table* table(const Table* t, int id) { return t->GetPointer<const Table*>(slot(id)); }
inline const Tables* tables(const Table* t, int id) { return t->GetPointer<const Tables*>(slot(id)); }
inline const Indices* indices(const Table* t, int id) { return t->GetPointer<const Indices*>(slot(id)); }
inline const String* text(const Table* t, int id) { return t->GetPointer<const String*>(slot(id)); }
template <class T>
T number(const Table* t, int id, T otherwise = 0) {
  return t->GetField<T>(slot(id), otherwise);
}
/// Whether elements lie where their type may be read; FlatBuffers' verifier asks that of single numbers only.
template <class T>
bool is_aligned(const Vector<T>* v) {
  return v == nullptr || reinterpret_cast<uintptr_t>(v->Data()) % alignof(T) == 0;
}
template <class T>
uint32_t count(const Vector<T>* v) {
  return v == nullptr ? 0 : v->size();
}

/// The table of a union of that type (field `id` is the type), else nullptr.
inline const Table* member(const Table* t, int id, uint8_t type) {
  return number<uint8_t>(t, id) == type ? table(t, id + 1) : nullptr;
}
/// A value's tensor, nullptr when it is something else.
inline const Table* tensor_of(const Tables* values, uint32_t i) { return member(values->Get(i), 0, kTensor); }

}  // namespace etggml::program::pte
