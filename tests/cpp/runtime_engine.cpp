// A kernel of ours that cannot be launched is an error of the call, and of every later one, and not the end of the
// process.
#include "check.h"
#include "engine/device_calls.h"
#include "engine/engine.h"

using namespace etggml::engine;

namespace {

void test_failed_launch() {
  auto made = Engine::create("cpu", 1);
  CHECK(made.ok());
  if (!made.ok()) return;
  Engine& engine = **made;
  ggml_context* ctx = ggml_init({1 << 16, nullptr, false});
  ggml_cgraph* graph = ggml_new_graph_custom(ctx, 8, false);
  ggml_build_forward_expand(graph, ggml_sqr(ctx, ggml_new_tensor_1d(ctx, GGML_TYPE_F32, 4)));
  CHECK(engine.compute(graph, nullptr).ok());
  note_failed_call("MAT_VEC", "MulMat.7");
  note_failed_call("HEADS", "SetRows.9");
  for (int i = 0; i < 2; ++i) {
    const etggml::Status status = engine.compute(graph, nullptr);
    CHECK(status.code == ETGGML_DEVICE);
    CHECK(status.message.find("could not launch the kernel MAT_VEC (MulMat.7)") != std::string::npos);
  }
  CHECK(take_failed_call().empty());
  // Others are not concerned.
  auto other = Engine::create("cpu", 1);
  CHECK(other.ok());
  if (other.ok()) CHECK((*other)->compute(graph, nullptr).ok());
  ggml_free(ctx);
}

}  // namespace

int main() {
  test_failed_launch();
  return failures() == 0 ? 0 : 1;
}
