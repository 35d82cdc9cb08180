// The plan cache's container, output conversion, metadata comparison and zero pages.
#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <vector>

#include "check.h"
#include "devices/memory.h"
#include "devices/types.h"
#include "engine/output.h"
#include "nmse.h"
#include "util/lru_cache.h"
#include "util/scalar_type.h"
#include "weights/expectations.h"

using namespace etggml;
using Key = std::vector<int64_t>;

namespace {

void test_lru() {
  LruCache<Key, std::unique_ptr<int>> cache(2);
  cache.insert({1}, std::make_unique<int>(1));
  cache.insert({2}, std::make_unique<int>(2));
  CHECK(cache.find({1}) != nullptr && **cache.find({1}) == 1);  // 1 is now the most recent
  cache.insert({3}, std::make_unique<int>(3));
  CHECK(cache.find({2}) == nullptr && cache.find({1}) != nullptr && cache.find({3}) != nullptr);
  CHECK(cache.find({1, 0}) == nullptr && cache.find({}) == nullptr);  // keys compare exactly
  cache.insert({1}, std::make_unique<int>(10));
  CHECK(cache.size() == 2 && **cache.find({1}) == 10);
  cache.erase({1});
  CHECK(cache.size() == 1 && cache.find({1}) == nullptr);
  for (int64_t i = 0; i < 5000; ++i) cache.insert({i}, std::make_unique<int>(0));
  CHECK(cache.size() == 2 && cache.find({4999}) != nullptr && cache.find({4998}) != nullptr);

  LruCache<Key, int> none(0);
  CHECK(none.insert({1}, 1) == nullptr && none.find({1}) == nullptr && none.size() == 0);
}

void test_outputs() {
  const float in[4] = {1.5f, -2.0f, NAN, 1e30f};
  float f[4];
  CHECK(engine::convert_output(GGML_TYPE_F32, in, kFloat, f, 4).ok() && std::memcmp(in, f, sizeof in) == 0);
  double d[4];
  CHECK(engine::convert_output(GGML_TYPE_F32, in, kDouble, d, 4).ok() && d[0] == 1.5 && std::isnan(d[2]));
  int64_t i[4];
  CHECK(engine::convert_output(GGML_TYPE_F32, in, kInt64, i, 4).ok());
  CHECK(i[0] == 1 && i[1] == -2 && i[2] == 0 && i[3] == std::numeric_limits<int64_t>::max());
  uint8_t b[4];
  CHECK(engine::convert_output(GGML_TYPE_F32, in, kBool, b, 4).ok() && b[0] == 1 && b[2] == 1);
  uint16_t h[4];
  CHECK(engine::convert_output(GGML_TYPE_F32, in, kHalf, h, 4).ok() && h[0] == 0x3E00 && h[1] == 0xC000);
  const int32_t ints[2] = {-7, std::numeric_limits<int32_t>::max()};
  int64_t wide[2];
  CHECK(engine::convert_output(GGML_TYPE_I32, ints, kInt64, wide, 2).ok() && wide[0] == -7 && wide[1] == 2147483647);
  CHECK(engine::convert_output(GGML_TYPE_Q8_0, in, kFloat, f, 32).code == ETGGML_UNSUPPORTED);
}

void test_metadata() {
  using weights::detail::same_value;
  CHECK(same_value(Json(8), Json(8u)) && !same_value(Json(8), Json(9)));
  CHECK(same_value(Json(1e-6), Json(static_cast<double>(1e-6f))));  // stored as a float
  CHECK(!same_value(Json(1e-6), Json(1e-5)));
  CHECK(same_value(Json(10000), Json(10000.0)) && !same_value(Json(true), Json(1)));
  CHECK(same_value(Json("qwen3"), Json("qwen3")) && !same_value(Json("qwen3"), Json("qwen2")));
  CHECK(same_value(Json::parse("[1,2]"), Json::parse("[1,2]")) &&
        !same_value(Json::parse("[1,2]"), Json::parse("[1,2,3]")));
  const uint32_t value = 12;
  gguf::KeyValue kv;
  kv.type = static_cast<int32_t>(gguf::ValueType::U32);
  kv.data = reinterpret_cast<const uint8_t*>(&value);
  CHECK(weights::detail::metadata_json(kv) == Json(12));
}

void test_types() {
  CHECK(devices::type_known(GGML_TYPE_Q4_K) && !devices::type_known(4) && !devices::type_known(-1) &&
        !devices::type_known(1000));
  CHECK(devices::row_bytes(GGML_TYPE_Q8_0, 64).ok() && !devices::row_bytes(GGML_TYPE_Q8_0, 33).ok());
  std::vector<float> in(2 * 256), out(2 * 256);
  for (size_t i = 0; i < in.size(); ++i) in[i] = std::sin(static_cast<float>(i));
  for (int number = 0; number < GGML_TYPE_COUNT; ++number) {
    if (!devices::type_known(number)) continue;
    const auto type = static_cast<ggml_type>(number);
    // Types that are fitted to a grid: ggml builds its tables for many seconds; the Python tests do it once.
    if (std::strncmp(ggml_type_name(type), "iq1", 3) == 0 || std::strncmp(ggml_type_name(type), "iq2", 3) == 0 ||
        std::strncmp(ggml_type_name(type), "iq3", 3) == 0) {
      continue;
    }
    if (!devices::has_from_float(type)) {
      CHECK(devices::from_float(type, in.data(), 2, 256, nullptr, nullptr).code == ETGGML_UNSUPPORTED);
      continue;
    }
    std::vector<uint8_t> data(2 * *devices::row_bytes(type, 256));
    CHECK(devices::from_float(type, in.data(), 2, 256, nullptr, data.data()).ok());
    CHECK(devices::to_float(type, data.data(), 2 * 256, out.data()).ok());
    CHECK(nmse(out, in) < (type == GGML_TYPE_Q1_0 ? 0.5 : 0.25));  // one bit a weight keeps little more than the sign
  }
  in[7] = INFINITY;
  uint8_t q[2 * 272];
  const Status status = devices::from_float(GGML_TYPE_Q8_0, in.data(), 2, 256, nullptr, q);
  CHECK(status.code == ETGGML_RANGE && status.message.find("[0, 7]") != std::string::npos);
}

void test_pages() {
  const auto pages = devices::ZeroPages::allocate(10000);
  CHECK(pages.ok());
  if (!pages.ok()) return;
  auto* bytes = static_cast<uint8_t*>((*pages)->data());
  CHECK(bytes[0] == 0 && bytes[9999] == 0);
  std::memset(bytes, 1, 10000);
  (*pages)->clear();
  CHECK((*pages)->data() == bytes && bytes[0] == 0 && bytes[9999] == 0);
}

}  // namespace

int main() {
  test_lru();
  test_outputs();
  test_metadata();
  test_types();
  test_pages();
  return failures() == 0 ? 0 : 1;
}
