#include "graph/host_fill.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "ir/boundary.h"
#include "ir/validate.h"
#include "util/scalar_type.h"

namespace etggml::graph {
namespace {

using ll = long long;
namespace fb = ir::fb;

constexpr uint16_t kHalfNegativeInfinity = 0xfc00;

struct Half {
  uint16_t bits;
};
struct BFloat16 {
  uint16_t bits;
};

inline float to_float(float v) { return v; }
inline float to_float(double v) { return static_cast<float>(v); }
inline float to_float(Half v) { return ggml_fp16_to_fp32(v.bits); }
inline float to_float(BFloat16 v) { return ggml_bf16_to_fp32(ggml_bf16_t{v.bits}); }
inline float to_float(bool v) { return v ? 1.0f : 0.0f; }
template <class T, class = std::enable_if_t<std::is_integral<T>::value>>
inline float to_float(T v) {
  return static_cast<float>(v);
}

/// Calls f(typed pointer) for a torch dtype.
template <class F>
bool with_source(int32_t dtype, const void* src, F f) {
  switch (dtype) {
    case kUint8:
      return f(static_cast<const uint8_t*>(src)), true;
    case kInt8:
      return f(static_cast<const int8_t*>(src)), true;
    case kInt16:
      return f(static_cast<const int16_t*>(src)), true;
    case kInt32:
      return f(static_cast<const int32_t*>(src)), true;
    case kInt64:
      return f(static_cast<const int64_t*>(src)), true;
    case kHalf:
      return f(static_cast<const Half*>(src)), true;
    case kFloat:
      return f(static_cast<const float*>(src)), true;
    case kDouble:
      return f(static_cast<const double*>(src)), true;
    case kBFloat16:
      return f(static_cast<const BFloat16*>(src)), true;
    case kBool:
      return f(static_cast<const uint8_t*>(src)), true;  // torch stores 0 / 1; other bytes count as true below
    default:
      return false;
  }
}

bool is_float_type(ggml_type type) { return type == GGML_TYPE_F32 || type == GGML_TYPE_F16 || type == GGML_TYPE_BF16; }

template <class T>
void to_float_type(const T* src, int64_t n, ggml_type type, bool is_bool, void* dst) {
  auto value = [&](int64_t i) {
    const float v = to_float(src[i]);
    return is_bool ? (v != 0.0f ? 1.0f : 0.0f) : v;
  };
  if (type == GGML_TYPE_F32) {
    auto* out = static_cast<float*>(dst);
    for (int64_t i = 0; i < n; ++i) out[i] = value(i);
  } else if (type == GGML_TYPE_F16) {
    auto* out = static_cast<ggml_fp16_t*>(dst);
    for (int64_t i = 0; i < n; ++i) out[i] = ggml_fp32_to_fp16(value(i));
  } else {
    auto* out = static_cast<ggml_bf16_t*>(dst);
    for (int64_t i = 0; i < n; ++i) out[i] = ggml_fp32_to_bf16(value(i));
  }
}

/// The range that integers must have, and the name of their source in messages.
struct Numbers {
  int64_t limit;  // at least 0 and below this, if it is not INT64_MAX
  int64_t rows;   // numbers of so many rows; 0: not that
  bool from_end;  // -1 is the last row
  const char* name;
};

Status outside(const Numbers& in, int64_t element, int64_t value, int64_t lo, int64_t hi) {
  return error(ETGGML_RANGE, "%s: element %lld is %lld, outside %lld..%lld", in.name, static_cast<ll>(element),
               static_cast<ll>(value), static_cast<ll>(lo), static_cast<ll>(hi));
}

template <class T, class Out>
Status to_integer(const T* src, int64_t n, bool is_bool, const Numbers& in, Out* dst) {
  const bool bounded = in.limit != INT64_MAX;
  const int64_t lo = bounded ? 0 : static_cast<int64_t>(std::numeric_limits<Out>::min());
  const int64_t hi = std::min<int64_t>(std::numeric_limits<Out>::max(), bounded ? in.limit - 1 : INT64_MAX);
  for (int64_t i = 0; i < n; ++i) {
    const int64_t given = is_bool ? src[i] != 0 : static_cast<int64_t>(src[i]);
    if (in.rows != 0 && (given < (in.from_end ? -in.rows : 0) || given >= in.rows))
      return outside(in, i, given, in.from_end ? -in.rows : 0, in.rows - 1);
    const int64_t v = in.rows != 0 && given < 0 ? given + in.rows : given;
    if (v < lo || v > hi) return outside(in, i, given, lo, hi);
    dst[i] = static_cast<Out>(v);
  }
  return ok_status();
}

/// Numbers of rows as floats, which hold them: those beyond 2^24 are refused.
template <class T>
Status to_float_rows(const T* src, int64_t n, bool is_bool, const Numbers& in, float* dst) {
  constexpr int64_t kExact = 1 << 24;
  for (int64_t i = 0; i < n; ++i) {
    const int64_t given = is_bool ? src[i] != 0 : static_cast<int64_t>(src[i]);
    const int64_t lo = in.from_end ? -in.rows : 0;
    if (given < lo || given >= in.rows) return outside(in, i, given, lo, in.rows - 1);
    const int64_t v = given < 0 ? given + in.rows : given;
    if (v > kExact) return outside(in, i, given, lo, kExact);
    dst[i] = static_cast<float>(v);
  }
  return ok_status();
}

Status integer_type(int32_t dtype, const void* src, int64_t n, ggml_type type, const Numbers& in, void* dst) {
  Status status;
  with_source(dtype, src, [&](auto* typed) {
    using T = std::remove_const_t<std::remove_pointer_t<decltype(typed)>>;
    if constexpr (std::is_integral<T>::value) {
      const bool is_bool = dtype == kBool;
      switch (type) {
        case GGML_TYPE_F32:
          status = to_float_rows(typed, n, is_bool, in, static_cast<float*>(dst));
          break;
        case GGML_TYPE_I8:
          status = to_integer(typed, n, is_bool, in, static_cast<int8_t*>(dst));
          break;
        case GGML_TYPE_I16:
          status = to_integer(typed, n, is_bool, in, static_cast<int16_t*>(dst));
          break;
        case GGML_TYPE_I32:
          status = to_integer(typed, n, is_bool, in, static_cast<int32_t*>(dst));
          break;
        default:
          status = to_integer(typed, n, is_bool, in, static_cast<int64_t*>(dst));
          break;
      }
    }
  });
  return status;
}

void mask_from_bool(const uint8_t* src, int64_t n, ggml_type type, void* dst) {
  if (type == GGML_TYPE_F16) {
    auto* out = static_cast<uint16_t*>(dst);
    for (int64_t i = 0; i < n; ++i) out[i] = src[i] ? 0 : kHalfNegativeInfinity;
  } else {
    auto* out = static_cast<float*>(dst);
    for (int64_t i = 0; i < n; ++i) out[i] = src[i] ? 0.0f : -std::numeric_limits<float>::infinity();
  }
}

/// Whether a conversion copies bytes.
bool is_copy(int32_t dtype, ggml_type type) {
  return (dtype == kFloat && type == GGML_TYPE_F32) || (dtype == kHalf && type == GGML_TYPE_F16) ||
         (dtype == kBFloat16 && type == GGML_TYPE_BF16);
}

template <class T>
void causal_rows(const T* positions, int64_t n, int64_t n_kv, int64_t window, uint16_t* dst) {
  for (int64_t i = 0; i < n; ++i) {
    // Visible keys are one interval [from, to); positions are arbitrary integers, so the clamps come before arithmetic.
    const int64_t p = std::min<int64_t>(positions[i], n_kv);
    const int64_t to = std::max<int64_t>(0, std::min<int64_t>(p + (p < n_kv), n_kv));
    const int64_t exact = static_cast<int64_t>(positions[i]);
    int64_t from = 0;
    if (window > 0 && exact >= window) from = std::min(exact - window + 1, to);
    uint16_t* row = dst + i * n_kv;
    std::fill(row, row + from, kHalfNegativeInfinity);
    std::fill(row + from, row + to, uint16_t{0});
    std::fill(row + to, row + n_kv, kHalfNegativeInfinity);
  }
}

}  // namespace

Status convert(int32_t dtype, const void* src, int64_t count, ggml_type type, bool mask, int64_t limit,
               const char* name, void* dst) {
  if (!ir::can_convert(dtype, type, mask)) {
    return error(ETGGML_UNSUPPORTED, "%s: %s cannot become %s", name, scalar_name(dtype), ggml_type_name(type));
  }
  if (mask) {
    mask_from_bool(static_cast<const uint8_t*>(src), count, type, dst);
    return ok_status();
  }
  if (is_copy(dtype, type)) {
    std::memcpy(dst, src, static_cast<size_t>(count) * scalar_size(dtype));
    return ok_status();
  }
  if (!is_float_type(type)) return integer_type(dtype, src, count, type, {limit, 0, false, name}, dst);
  with_source(dtype, src, [&](auto* typed) { to_float_type(typed, count, type, dtype == kBool, dst); });
  return ok_status();
}

void fill_causal_mask(const void* positions, int32_t dtype, int64_t n, int64_t n_kv, int64_t window, uint16_t* dst) {
  if (dtype == kInt64) {
    causal_rows(static_cast<const int64_t*>(positions), n, n_kv, window, dst);
  } else {
    causal_rows(static_cast<const int32_t*>(positions), n, n_kv, window, dst);
  }
}

Status fill_host_input(const ir::Graph& ir_graph, const HostInput& host, const ir::InputView* inputs, size_t n_inputs,
                       const std::vector<int64_t>& symbols, void* dst, size_t dst_bytes) {
  const fb::Node& node = ir_graph.node(host.node);
  const std::array<int64_t, 4> ne = ir_graph.node_shape(host.node, symbols);
  const int64_t count = ir::element_count(ne);
  const auto type = static_cast<ggml_type>(node.type());
  if (dst_bytes < static_cast<size_t>(count) * ggml_type_size(type)) {
    return error(ETGGML_INTERNAL, "%s: %s: a buffer of %zu bytes for %lld elements", ir_graph.origin().c_str(),
                 ir::node_name(ir_graph.payload(), host.node).c_str(), dst_bytes, static_cast<ll>(count));
  }
  if (const auto* fill = node.op_as_Fill()) {
    if (type == GGML_TYPE_F32) {
      std::fill_n(static_cast<float*>(dst), count, fill->value());
    } else {
      std::fill_n(static_cast<ggml_fp16_t*>(dst), count, ggml_fp32_to_fp16(fill->value()));
    }
    return ok_status();
  }
  const auto* mask = node.op_as_CausalMask();
  const fb::Node& leaf_node = mask ? ir_graph.node(node.src()->Get(0)) : node;
  const auto* leaf = leaf_node.op_as_InputLeaf();
  if (!leaf || leaf->input() >= n_inputs) {
    return error(ETGGML_INTERNAL, "%s: %s is not a host input, or too few inputs were passed",
                 ir_graph.origin().c_str(), ir::node_name(ir_graph.payload(), host.node).c_str());
  }
  const fb::Input& declared = *ir_graph.payload().inputs()->Get(leaf->input());
  const ir::InputView& view = inputs[leaf->input()];
  const std::string name = ir_graph.origin() + ": input '" + declared.name()->str() + "'";
  if (view.kind == fb::InputKind_Tensor && ir::element_count(view.dims, static_cast<size_t>(view.rank)) == 0) {
    std::memset(dst, 0, static_cast<size_t>(count) * ggml_type_size(type));  // see Graph::stand_in
    return ok_status();
  }
  if (!view.data) return error(ETGGML_INVALID_ARGUMENT, "%s has no data", name.c_str());
  // A view that bind() accepted has these dimensions. A caller that mixes up views must not make us read past one.
  const int64_t given =
      view.kind == fb::InputKind_Tensor ? ir::element_count(view.dims, static_cast<size_t>(view.rank)) : 1;
  const int64_t needed = mask ? ne[1] : count;
  if (given != needed) {
    return error(ETGGML_SHAPE, "%s has %lld elements, the graph was built for %lld", name.c_str(),
                 static_cast<ll>(given), static_cast<ll>(needed));
  }
  if (mask) {
    fill_causal_mask(view.data, declared.dtype(), ne[1], ne[0], mask->window(), static_cast<uint16_t*>(dst));
    return ok_status();
  }
  const int32_t dtype = ir::boundary_dtype(declared);
  if (leaf->rows() != 0) {
    const Numbers numbers{host.index_limit, ir_graph.dim(leaf->rows(), symbols), leaf->from_end(), name.c_str()};
    return integer_type(dtype, view.data, count, type, numbers, dst);
  }
  return convert(dtype, view.data, count, type, leaf->mask(), host.index_limit, name.c_str(), dst);
}

const void* host_input_as_it_is(const ir::Graph& ir_graph, const HostInput& host, const ir::InputView* inputs,
                                size_t n_inputs, const std::vector<int64_t>& symbols) {
  const fb::Node& node = ir_graph.node(host.node);
  const auto* leaf = node.op_as_InputLeaf();
  if (leaf == nullptr || leaf->input() >= n_inputs || leaf->rows() != 0 || leaf->mask()) return nullptr;
  const ir::InputView& view = inputs[leaf->input()];
  const int32_t dtype = ir::boundary_dtype(*ir_graph.payload().inputs()->Get(leaf->input()));
  if (view.kind != fb::InputKind_Tensor || !is_copy(dtype, static_cast<ggml_type>(node.type()))) return nullptr;
  const int64_t given = ir::element_count(view.dims, static_cast<size_t>(view.rank));
  return given == ir::element_count(ir_graph.node_shape(host.node, symbols)) ? view.data : nullptr;
}

}  // namespace etggml::graph
