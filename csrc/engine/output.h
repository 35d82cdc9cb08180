// Results: from a ggml tensor to the dtype that the method declares.
#pragma once

#include <cstddef>
#include <cstdint>

#include "ggml.h"
#include "util/status.h"

namespace etggml::engine {

/// The bytes of `type` are those of torch dtype `dtype`: no conversion needed.
bool same_representation(ggml_type type, int32_t dtype);

/// `count` contiguous elements of `type` at `src` (host memory) -> `dtype` at `dst`. Integers that become floats and
/// floats that become integers convert by value; NaN becomes 0 in an integer. ETGGML_UNSUPPORTED for a pair without a
/// conversion.
Status convert_output(ggml_type type, const void* src, int32_t dtype, void* dst, int64_t count);

/// A contiguous tensor with memory on any device -> `dtype` at `dst`, which holds `dst_bytes`.
Status read_output(const ggml_tensor* tensor, int32_t dtype, void* dst, size_t dst_bytes);

}  // namespace etggml::engine
