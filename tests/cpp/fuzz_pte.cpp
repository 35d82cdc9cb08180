// Damaged programs: opening a .pte ends with a program or a Status, and what is accepted has nothing in its
// instructions that ExecuTorch would follow out of its tables. The seed has every kind of value and instruction, made
// table by table. A fixed number of mutations: fuzz_pte [iterations] [seed].
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <random>
#include <string>
#include <vector>

#include "program/pte_file.h"
#include "program/pte_tables.h"

namespace {

using namespace etggml::program;
using flatbuffers::FlatBufferBuilder;
using flatbuffers::Offset;
using Ref = Offset<pte::Table>;
using Bytes = std::vector<uint8_t>;

// One table at a time: fields by their number in ExecuTorch's schema.
class Writer {
 public:
  FlatBufferBuilder b;

  struct Field {
    int id;
    int64_t number;
    int width;  // bytes; 0: an offset
  };

  static Field ref(int id, flatbuffers::uoffset_t offset) { return {id, offset, 0}; }
  static Field num(int id, int64_t number, int width) { return {id, number, width}; }

  Ref table(const std::vector<Field>& fields) {
    const auto start = b.StartTable();
    for (const Field& f : fields) {
      const auto at = pte::slot(f.id);
      if (f.width == 0) b.AddOffset(at, Offset<void>(static_cast<flatbuffers::uoffset_t>(f.number)));
      if (f.width == 1) b.AddElement<uint8_t>(at, static_cast<uint8_t>(f.number));
      if (f.width == 4) b.AddElement<int32_t>(at, static_cast<int32_t>(f.number));
      if (f.width == 8) b.AddElement<int64_t>(at, f.number);
    }
    return Ref(b.EndTable(start));
  }
  // A table around a union: its type, then its value.
  Ref member(uint8_t type, Ref value) { return table({num(0, type, 1), ref(1, value.o)}); }
  template <class T>
  flatbuffers::uoffset_t vector(const std::vector<T>& items) {
    return b.CreateVector(items).o;
  }
};

Ref tensor(Writer& w, int32_t buffer, bool planned, int32_t at = 0) {
  const auto sizes = w.vector<int32_t>({2, 4});
  const auto order = w.vector<uint8_t>({0, 1});
  std::vector<Writer::Field> fields{Writer::num(0, 6, 1), Writer::ref(2, sizes), Writer::ref(3, order),
                                    Writer::num(5, buffer, 4)};
  if (planned) fields.push_back(Writer::ref(6, w.table({Writer::num(0, 1, 4), Writer::num(1, at, 4)}).o));
  return w.member(pte::kTensor, w.table(fields));
}

Bytes seed_file() {
  Writer w;
  using W = Writer;
  std::vector<Ref> values{tensor(w, 0, true), tensor(w, 0, true, 32), tensor(w, 1, false), tensor(w, 0, true, 64)};
  values.push_back(w.member(pte::kInt, w.table({W::num(0, 3, 8)})));
  values.push_back(w.member(pte::kBool, w.table({W::num(0, 1, 1)})));
  values.push_back(w.member(pte::kIntList, w.table({W::ref(0, w.vector<int64_t>({4, 4}))})));
  values.push_back(w.member(pte::kTensorList, w.table({W::ref(0, w.vector<int32_t>({0, 1}))})));
  values.push_back(w.member(pte::kOptionalTensorList, w.table({W::ref(0, w.vector<int32_t>({-1, 1}))})));
  values.push_back(w.member(pte::kString, w.table({W::ref(0, w.b.CreateString("text").o)})));
  values.push_back(w.member(pte::kNull, w.table({})));
  const auto args = [&](std::vector<int32_t> a) { return W::ref(1, w.vector(a)); };
  std::vector<Ref> instructions;
  instructions.push_back(w.member(pte::kDelegate, w.table({W::num(0, 0, 4), args({0, 2, 1})})));
  instructions.push_back(w.member(pte::kKernel, w.table({W::num(0, 0, 4), args({0, 2, 4, 3, 3})})));
  instructions.push_back(w.member(pte::kJump, w.table({W::num(0, 5, 4), W::num(1, 4, 4)})));
  instructions.push_back(w.member(pte::kMove, w.table({W::num(0, 1, 4), W::num(1, 3, 4)})));
  instructions.push_back(w.member(pte::kKernel, w.table({W::num(0, 1, 4), args({7, 6, 3, 3})})));
  const auto chain = w.table({W::ref(2, w.vector(instructions))});
  const std::vector<Ref> operators{
      w.table({W::ref(0, w.b.CreateString("aten::add").o), W::ref(1, w.b.CreateString("out").o)}),
      w.table({W::ref(0, w.b.CreateString("aten::cat").o)})};
  const auto spec = w.table({W::ref(0, w.b.CreateString("key").o), W::ref(1, w.vector<uint8_t>({1}))});
  const auto where = w.table({W::num(0, 0, 1), W::num(1, 0, 4)});
  const auto delegate =
      w.table({W::ref(0, w.b.CreateString("GgmlBackend").o), W::ref(1, where.o), W::ref(2, w.vector<Ref>({spec}))});
  const auto name = w.b.CreateString("forward").o;
  const auto plan =
      w.table({W::ref(0, name), W::ref(2, w.vector(values)), W::ref(3, w.vector<int32_t>({0, 4})),
               W::ref(4, w.vector<int32_t>({3, 1})), W::ref(5, w.vector<Ref>({chain})), W::ref(6, w.vector(operators)),
               W::ref(7, w.vector<Ref>({delegate})), W::ref(8, w.vector<int64_t>({0, 96}))});
  const auto buffer = [&](size_t n) { return w.table({W::ref(0, w.b.CreateVector(Bytes(n, 1)).o)}); };
  const auto payload = buffer(64);
  // The constants lie in the first bytes of the file itself.
  const auto segment = w.table({W::num(0, 0, 8), W::num(1, 64, 8)});
  const auto constants = w.table({W::num(0, 0, 4), W::ref(1, w.vector<int64_t>({0, 16}))});
  const auto program = w.table({W::ref(1, w.vector<Ref>({plan})), W::ref(3, w.vector<Ref>({payload})),
                                W::ref(4, w.vector<Ref>({segment})), W::ref(5, constants.o)});
  w.b.Finish(program, "ET12");
  return Bytes(w.b.GetBufferPointer(), w.b.GetBufferPointer() + w.b.GetSize());
}

[[noreturn]] void fail(const char* what) {
  std::fprintf(stderr, "broken promise: %s\n", what);
  std::abort();
}

// What ExecuTorch follows when it loads and runs a method.
void walk(const Bytes& file) {
  const pte::Tables* plans = pte::tables(pte::root(file.data()), pte::Program::kPlans);
  for (uint32_t p = 0; p < pte::count(plans); ++p) {
    const pte::Table* plan = plans->Get(p);
    const uint32_t values = pte::count(pte::tables(plan, pte::Plan::kValues));
    const pte::Tables* chains = pte::tables(plan, pte::Plan::kChains);
    for (uint32_t c = 0; c < pte::count(chains); ++c) {
      const pte::Tables* list = pte::tables(chains->Get(c), 2);
      for (uint32_t i = 0; i < list->size(); ++i) {
        const auto kind = pte::number<uint8_t>(list->Get(i), 0);
        const pte::Table* call = pte::table(list->Get(i), 1);
        if (kind < pte::kKernel || kind > pte::kFree || call == nullptr) fail("an instruction");
        const auto first = static_cast<uint32_t>(pte::number<int32_t>(call, 0));
        const int targets = kind == pte::kKernel ? pte::Plan::kOperators : pte::Plan::kDelegates;
        if (kind == pte::kKernel || kind == pte::kDelegate) {
          if (first >= pte::count(pte::tables(plan, targets))) fail("what is called");
          for (const int32_t arg : *pte::indices(call, 1)) {
            if (static_cast<uint32_t>(arg) >= values) fail("an argument");
          }
        } else if (first >= values) {
          fail("a value");
        }
      }
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  const int iterations = argc > 1 ? std::atoi(argv[1]) : 6000;
  std::mt19937 rng(argc > 2 ? static_cast<unsigned>(std::atoi(argv[2])) : 1u);
  const std::string path = "fuzz_pte." + std::to_string(getpid());
  const Bytes seed = seed_file();
  const uint32_t values[] = {0, 1, 2, 3, 4, 5, 8, 11, 12, 127, 255, 1u << 15, 1u << 31, UINT32_MAX, UINT32_MAX - 1};
  int accepted = 0;
  for (int i = 0; i < iterations; ++i) {
    Bytes file = seed;
    for (unsigned edits = i == 0 ? 0 : rng() % 3 + 1; edits > 0; --edits) {
      const size_t width = size_t{1} << rng() % 3;
      const size_t at = rng() % (file.size() - 8) / width * width;
      const uint32_t value = rng() % 2 == 0 ? values[rng() % (sizeof values / sizeof *values)] : rng();
      std::memcpy(file.data() + at, &value, width);
    }
    std::ofstream(path, std::ios::binary)
        .write(reinterpret_cast<const char*>(file.data()), static_cast<std::streamsize>(file.size()));
    auto opened = PteFile::open(path, "");
    if (opened.ok()) {
      walk(file);
      ++accepted;
    } else if (opened.status().message.empty() || opened.status().code == ETGGML_INTERNAL) {
      fail("a reason");
    } else if (i == 0) {
      std::printf("the undamaged program was refused: %s\n", opened.status().message.c_str());
      return 1;
    }
  }
  std::remove(path.c_str());
  std::printf("%d of %d accepted\n", accepted, iterations);
  return accepted > iterations / 50 && accepted < iterations ? 0 : 1;
}
