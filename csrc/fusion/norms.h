// RMS normalisation with or without its gain, as graphs spell it.
#pragma once

#include "fusion/readers.h"

namespace etggml::fusion {

struct Normalised {
  ggml_tensor* x = nullptr;           // the source of RMS_NORM
  const ggml_tensor* gain = nullptr;  // F32 [size], or nullptr
  float eps = 0;
};

/// `t` as MUL(RMS_NORM(x), gain) or RMS_NORM(x) over rows of `size`; x is nullptr when it is neither.
Normalised normalised(ggml_tensor* t, int64_t size);

}  // namespace etggml::fusion
