// Along rows: each element combined with all before it, the largest so far, and the place of a number in a row.
//
// ggml has the running sum alone. Products and logarithms of sums need double, as torch has it: a product may leave the
// range of F32 and come back. So these are kernels of ours. A row is one thread's.
#include <algorithm>
#include <cmath>

#include "graph/op_row.h"
#include "kernels/custom_op.h"
#include "kernels/kernel_guard.h"

namespace etggml::graph {
namespace {

// Elements between two looks at whether the call is to end.
constexpr int64_t kPiece = 1 << 14;

struct Params {
  int32_t how;  // ScanKind; smallest; right
};

/// Calls f(row, begin, end) for pieces of `count` elements of this thread's rows, in order.
template <class F>
void in_pieces(ggml_tensor* y, int thread, int threads, int64_t count, const F& f) {
  for (int64_t row = thread; row < ggml_nrows(y); row += threads) {
    for (int64_t begin = 0; begin < count; begin += kPiece) {
      if (kernels::stopped(y, thread)) return;
      f(row, begin, std::min(count, begin + kPiece));
    }
  }
}

/// log(exp(x) + exp(sum)). Of two equal infinities it is that infinity.
double log_add_exp(double x, double sum) {
  if (std::isnan(x) || std::isnan(sum)) return x + sum;
  const double low = std::min(x, sum), high = std::max(x, sum);
  return low == high && std::isinf(low) ? x : std::log1p(std::exp(low - high)) + high;
}

void scan(ggml_tensor* y, int thread, int threads, void*) {
  const bool product = kernels::custom_op_params<Params>(y).how == fb::ScanKind_Prod;
  const auto* from = static_cast<const float*>(y->src[0]->data);
  auto* to = static_cast<float*>(y->data);
  const int64_t n = y->ne[0];
  double so_far = 0.0;
  in_pieces(y, thread, threads, n, [&](int64_t row, int64_t begin, int64_t end) {
    if (begin == 0) so_far = product ? 1.0 : -INFINITY;
    for (int64_t i = row * n + begin; i < row * n + end; ++i) {
      so_far = product ? so_far * from[i] : log_add_exp(from[i], so_far);
      to[i] = static_cast<float>(so_far);
    }
  });
}

void running_max(ggml_tensor* y, int thread, int threads, void*) {
  const bool smallest = kernels::custom_op_params<Params>(y).how != 0;
  const auto* from = static_cast<const float*>(y->src[0]->data);
  auto* to = static_cast<int32_t*>(y->data);
  const int64_t n = y->ne[0];
  float best = 0.0f;
  int32_t place = 0;
  in_pieces(y, thread, threads, n, [&](int64_t row, int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const float x = from[row * n + i];
      if (i == 0 || std::isnan(x) || (smallest ? x <= best : x >= best)) {
        best = x;
        place = static_cast<int32_t>(i);
      }
      to[row * n + i] = place;
    }
  });
}

void search(ggml_tensor* y, int thread, int threads, void*) {
  const bool right = kernels::custom_op_params<Params>(y).how != 0;
  const auto* rows = static_cast<const float*>(y->src[0]->data);
  const auto* numbers = static_cast<const float*>(y->src[1]->data);
  auto* to = static_cast<float*>(y->data);
  const int64_t n = y->src[0]->ne[0], count = y->ne[0];
  in_pieces(y, thread, threads, count, [&](int64_t row, int64_t begin, int64_t end) {
    const float* sorted = rows + row * n;
    for (int64_t i = row * count + begin; i < row * count + end; ++i) {
      const float x = numbers[i];
      int64_t low = 0, high = n;
      while (low < high) {  // NaN, of a row or a number, compares as false: go on behind it
        const int64_t middle = low + ((high - low) >> 1);
        const bool found = right ? sorted[middle] > x : sorted[middle] >= x;
        (found ? high : low) = found ? middle : middle + 1;
      }
      to[i] = static_cast<float>(low);
    }
  });
}

Result<ggml_tensor*> on_cpu(NodeBuilder& b, ggml_type type, ggml_custom_op_t kernel, const char* name, int how) {
  for (uint32_t i = 0; i < b.src_count(); ++i) {
    ETGGML_RETURN_IF_ERROR(b.type_in(i, {GGML_TYPE_F32}));
    ETGGML_RETURN_IF_ERROR(b.contiguous(i));
  }
  const Shape ne = shape_of(b.src(b.src_count() - 1));
  ETGGML_RETURN_IF_ERROR(b.result_shape(ne));
  if (b.options().device) {
    return b.unsupported("%s is a kernel of the CPU, this device has none; run the program there", name);
  }
  ggml_tensor* args[2] = {b.src(0), b.src(b.src_count() - 1)};
  ggml_tensor* y = ggml_custom_4d(b.ctx(), type, ne[0], ne[1], ne[2], ne[3], args, static_cast<int>(b.src_count()),
                                  kernel, GGML_N_TASKS_MAX, nullptr);
  kernels::set_custom_op(y, name, Params{how});
  return y;
}

Status check_scan(const ir::NodeCheck& c) {
  return c.known("kind", c.node().op_as_Scan()->kind(), fb::ScanKind_MIN, fb::ScanKind_MAX);
}

Result<ggml_tensor*> build_scan(NodeBuilder& b) {
  return on_cpu(b, GGML_TYPE_F32, kernels::guarded_kernel<scan>, "SCAN", b.node().op_as_Scan()->kind());
}

Result<ggml_tensor*> build_running_max(NodeBuilder& b) {
  return on_cpu(b, GGML_TYPE_I32, kernels::guarded_kernel<running_max>, "RUNNING_MAX",
                b.node().op_as_RunningMax()->smallest());
}

Result<ggml_tensor*> build_search(NodeBuilder& b) {
  const ggml_tensor *rows = b.src(0), *numbers = b.src(1);
  if (rows->ne[1] != numbers->ne[1] || rows->ne[2] != numbers->ne[2] || rows->ne[3] != numbers->ne[3]) {
    return b.fail("rows of shape %s and numbers of shape %s do not fit", shape_text(shape_of(rows)).c_str(),
                  shape_text(shape_of(numbers)).c_str());
  }
  return on_cpu(b, GGML_TYPE_F32, kernels::guarded_kernel<search>, "SEARCH", b.node().op_as_Search()->right());
}

}  // namespace

const OpRow kScanRow = row<fb::Op_Scan, build_scan, check_scan>();
const OpRow kRunningMaxRow = row<fb::Op_RunningMax, build_running_max, any_fields>();
const OpRow kSearchRow = row<fb::Op_Search, build_search, any_fields>();

}  // namespace etggml::graph
