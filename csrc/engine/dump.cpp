#include "engine/dump.h"

#include <cstdio>
#include <map>

#include "kernels/custom_op.h"
#include "util/env.h"
#include "util/log.h"

namespace etggml::engine {

std::string plan_text(const Plan& plan, const ir::Graph& ir_graph) {
  std::string text = format("# %s\n# symbols:", ir_graph.origin().c_str());
  const auto* symbols = ir_graph.payload().symbols();
  for (size_t i = 0; i < plan.symbols().size(); ++i) {
    const char* name = symbols != nullptr && symbols->Get(static_cast<flatbuffers::uoffset_t>(i))->name() != nullptr
                           ? symbols->Get(static_cast<flatbuffers::uoffset_t>(i))->name()->c_str()
                           : "?";
    text += format(" %s=%lld", name, static_cast<long long>(plan.symbols()[i]));
  }
  text += "\n";
  std::map<const ggml_tensor*, std::string> names;
  const int count = ggml_graph_n_nodes(plan.graph());
  auto name_of = [&](const ggml_tensor* t) {
    const auto it = names.find(t);
    return it != names.end() ? it->second : std::string(t->name[0] != '\0' ? t->name : "leaf");
  };
  for (int i = 0; i < count; ++i) {
    const ggml_tensor* t = ggml_graph_node(plan.graph(), i);
    names[t] = "%" + std::to_string(i);
    text += format("%%%d = %s %s ne=[%lld,%lld,%lld,%lld] nb=[%zu,%zu,%zu,%zu] ir=%lld", i, kernels::op_name(t),
                   ggml_type_name(t->type), static_cast<long long>(t->ne[0]), static_cast<long long>(t->ne[1]),
                   static_cast<long long>(t->ne[2]), static_cast<long long>(t->ne[3]), t->nb[0], t->nb[1], t->nb[2],
                   t->nb[3], static_cast<long long>(plan.ir_node(i)));
    for (int s = 0; s < GGML_MAX_SRC && t->src[s] != nullptr; ++s) {
      const ggml_tensor* src = t->src[s];
      text += format("%s%s:%s[%lld,%lld,%lld,%lld]", s == 0 ? " (" : ", ", name_of(src).c_str(),
                     ggml_type_name(src->type), static_cast<long long>(src->ne[0]), static_cast<long long>(src->ne[1]),
                     static_cast<long long>(src->ne[2]), static_cast<long long>(src->ne[3]));
    }
    text += t->src[0] != nullptr ? ")\n" : "\n";
  }
  return text;
}

void dump_plan(const Plan& plan, const ir::Graph& ir_graph) {
  if (!env_flag("GGML_DEBUG_DUMP")) return;
  std::string path = env_string("GGML_DEBUG_DUMP");
  if (path == "1") path = "ggml_dump.txt";
  std::FILE* file = std::fopen(path.c_str(), "ae");
  if (file == nullptr) {
    log(ETGGML_LOG_WARNING, "GGML_DEBUG_DUMP: cannot write '%s'", path.c_str());
    return;
  }
  const std::string text = plan_text(plan, ir_graph);
  std::fwrite(text.data(), 1, text.size(), file);
  std::fclose(file);
}

}  // namespace etggml::engine
