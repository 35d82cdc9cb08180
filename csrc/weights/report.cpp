#include "weights/report.h"

#include <algorithm>
#include <utility>

#include "util/nearest.h"

namespace etggml::weights {
namespace {

const char* kind_name(Problem::Kind kind) {
  switch (kind) {
    case Problem::Kind::Missing:
      return "missing";
    case Problem::Kind::Shape:
      return "shape";
    case Problem::Kind::Type:
      return "type";
    case Problem::Kind::Metadata:
      return "metadata";
  }
  return "?";
}

// A broken pair of files usually has the same problem in every layer; the first few say it all.
constexpr size_t kShown = 5;
constexpr size_t kNearest = 3;

}  // namespace

void Report::add(Problem problem) {
  for (const Problem& p : problems) {
    if (p.kind == problem.kind && p.key == problem.key && p.expected == problem.expected) return;
  }
  problems.push_back(std::move(problem));
}

void Report::finish() {
  for (Problem& p : problems) {
    if (p.kind != Problem::Kind::Missing || p.nearest.empty() || p.complete) continue;
    std::stable_partition(p.nearest.begin(), p.nearest.end(),
                          [&](const std::string& name) { return needed.count(name) == 0; });
    if (p.nearest.size() > kNearest) p.nearest.resize(kNearest);
    p.message += "; nearest names: " + join_quoted(p.nearest);
    p.complete = true;
  }
}

Status Report::status(const std::string& where) const {
  if (problems.empty()) return ok_status();
  std::string text = where + ": ";
  for (size_t i = 0; i < problems.size() && i < kShown; ++i) text += (i == 0 ? "" : "; ") + problems[i].message;
  if (problems.size() > kShown) text += format("; and %zu more problems", problems.size() - kShown);
  return Status(ETGGML_BIND, text);
}

Json Report::json(const gguf::FileSet* files) const {
  Json list = Json::array();
  for (const Problem& p : problems) {
    list.push_back({{"kind", kind_name(p.kind)},
                    {"key", p.key},
                    {"expected", p.expected},
                    {"found", p.found},
                    {"nearest", p.nearest},
                    {"message", p.message}});
  }
  Json extra = Json::array();
  if (files != nullptr) {
    for (const gguf::Tensor& tensor : files->tensors()) {
      if (used.count(tensor.name) == 0) extra.push_back(tensor.name);
    }
  }
  return {{"ok", problems.empty()}, {"tensors", needed.size()}, {"bytes", bytes}, {"problems", list}, {"extra", extra}};
}

std::string shape_text(const int64_t ne[4]) {
  int last = 3;
  while (last > 0 && ne[last] == 1) --last;
  std::string text = "[";
  for (int i = 0; i <= last; ++i) text += (i == 0 ? "" : ", ") + std::to_string(ne[i]);
  return text + "]";
}

}  // namespace etggml::weights
