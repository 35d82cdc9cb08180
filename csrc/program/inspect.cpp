// Programs looked at without being loaded for execution: check_program and program_payloads.
#include <utility>

#include "engine/load_scope.h"
#include "program/method.h"
#include "program/program.h"
#include "program/pte_file.h"
#include "weights/report.h"

namespace etggml::program {
namespace {

// Every method of the file under the scope. A method still shows its delegates if CPU operators are missing here.
Status load_all(const program::PteFile& file, engine::LoadScope& scope) {
  for (const std::string& name : file.methods()) {
    scope.delegates = 0;
    const auto method = program::LoadedMethod::load(file, name, nullptr);
    if (!scope.failure.ok()) return scope.failure;
    if (!method.ok() && method.status().code != ETGGML_UNSUPPORTED) return method.status();
  }
  return ok_status();
}

}  // namespace

Result<Json> check_program(const std::string& pte, std::shared_ptr<const gguf::FileSet> weights) {
  ETGGML_ASSIGN_OR_RETURN(const std::unique_ptr<program::PteFile> file, program::PteFile::open(pte, ""));
  weights::Report report;
  engine::LoadScope scope(engine::LoadScope::Mode::Check);
  scope.origin = pte;
  scope.files = weights;
  scope.report = &report;
  ETGGML_RETURN_IF_ERROR(load_all(*file, scope));
  report.finish();
  return report.json(weights.get());
}

Status program_payloads(const std::string& pte,
                        const std::function<void(const char*, size_t, const void*, size_t)>& fn) {
  ETGGML_ASSIGN_OR_RETURN(const std::unique_ptr<program::PteFile> file, program::PteFile::open(pte, ""));
  engine::LoadScope scope(engine::LoadScope::Mode::Payloads);
  scope.origin = pte;
  scope.payload = [&](const char* method, const void* data, size_t size) {
    fn(method, scope.delegates - 1, data, size);
  };
  return load_all(*file, scope);
}

}  // namespace etggml::program
