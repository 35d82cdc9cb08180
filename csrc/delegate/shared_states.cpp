#include "delegate/shared_states.h"

#include <algorithm>
#include <list>
#include <mutex>
#include <set>
#include <vector>

namespace etggml::delegate {
namespace {

constexpr const char* kMark = "executorch_ggml.states";

// One set of states of one loaded program. It lives as long as a delegate that uses it, and so does the program.
struct Group {
  const void* ir_graph = nullptr;
  std::string device;
  std::shared_ptr<engine::StateStore> states;
  std::set<std::string> members;  // method and state; a state has one delegate in a method
};

struct Process {
  std::mutex mutex;
  std::list<Group> groups;
};

Process& process() {
  static Process* instance = new Process();
  return *instance;
}

std::vector<std::string> members_of(const std::string& method, const ir::Graph& ir_graph) {
  std::vector<std::string> out;
  for (uint32_t i = 0; i < ir_graph.state_count(); ++i) {
    const auto* name = ir_graph.payload().states()->Get(i)->name();
    out.push_back(method + '\n' + (name == nullptr ? "" : name->str()));
  }
  return out;
}

}  // namespace

std::shared_ptr<void> share_states(const executorch::runtime::NamedDataMap* map, const std::string& method,
                                   const ir::Graph& ir_graph, engine::Context* context) {
  const std::vector<std::string> members = members_of(method, ir_graph);
  if (map == nullptr || members.empty() || !map->get_data(kMark).ok()) return nullptr;
  const std::string device = context->engine->device().name;
  Process& p = process();
  std::lock_guard<std::mutex> guard(p.mutex);
  auto group = std::find_if(p.groups.begin(), p.groups.end(), [&](const Group& g) {
    return g.ir_graph == map && g.device == device && g.states->cache_type() == context->states->cache_type() &&
           std::none_of(members.begin(), members.end(), [&](const std::string& m) { return g.members.count(m) > 0; });
  });
  if (group == p.groups.end()) {
    p.groups.push_back({map, device, context->states, {}});
    group = std::prev(p.groups.end());
  }
  group->members.insert(members.begin(), members.end());
  context->states = group->states;
  return std::shared_ptr<void>(&*group, [members](void* address) {
    Process& all = process();
    std::lock_guard<std::mutex> inside(all.mutex);
    const auto mine =
        std::find_if(all.groups.begin(), all.groups.end(), [address](const Group& g) { return &g == address; });
    if (mine == all.groups.end()) return;
    for (const std::string& member : members) mine->members.erase(member);
    if (mine->members.empty()) all.groups.erase(mine);
  });
}

}  // namespace etggml::delegate
