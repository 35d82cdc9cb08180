// The greedy choice. At 152k logits a token this is memory bound only if the compiler can use several lanes. So the
// maximum, the NaN test and the index are separate. The first two vectorise; the third looks at one block.
#include <cmath>
#include <limits>

#include "text/sampler.h"

namespace etggml::text {
namespace {

constexpr size_t kLanes = 16;
constexpr size_t kBlock = 1024;

struct BlockMax {
  float max;
  bool nan;
};

BlockMax scan(const float* x, size_t n) {
  float lane[kLanes];
  int32_t bad[kLanes] = {};
  for (float& value : lane) value = -std::numeric_limits<float>::infinity();
  size_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    for (size_t j = 0; j < kLanes; ++j) {
      const float value = x[i + j];
      lane[j] = value > lane[j] ? value : lane[j];
      bad[j] |= static_cast<int32_t>(value != value);
    }
  }
  BlockMax result = {-std::numeric_limits<float>::infinity(), false};
  for (size_t j = 0; j < kLanes; ++j) {
    result.max = lane[j] > result.max ? lane[j] : result.max;
    result.nan = result.nan || bad[j] != 0;
  }
  for (; i < n; ++i) {
    result.max = x[i] > result.max ? x[i] : result.max;
    result.nan = result.nan || x[i] != x[i];
  }
  return result;
}

}  // namespace

Result<int32_t> argmax(const float* logits, size_t n) {
  float best = -std::numeric_limits<float>::infinity();
  size_t block = 0;
  for (size_t start = 0; start < n; start += kBlock) {
    const size_t size = n - start < kBlock ? n - start : kBlock;
    const BlockMax found = scan(logits + start, size);
    if (found.nan) {
      size_t i = start;
      while (!std::isnan(logits[i])) ++i;
      return error(ETGGML_RANGE, "the logits hold NaN (token %zu of %zu): the weights or the inputs are broken", i, n);
    }
    if (found.max > best) {
      best = found.max;
      block = start;
    }
  }
  if (!std::isfinite(best)) {
    return error(ETGGML_RANGE,
                 best > 0 ? "the logits hold +infinity: the weights or the inputs are broken"
                          : "no token is possible: none of the %zu logits is finite",
                 n);
  }
  while (logits[block] != best) ++block;
  return static_cast<int32_t>(block);
}

}  // namespace etggml::text
