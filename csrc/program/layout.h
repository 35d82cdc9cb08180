// Orders of dimensions in memory: a `.pte` may expect an argument, or give a result, in another order than row-major.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "util/status.h"

namespace etggml::program {

/// An order as a file states it, known to name every dimension once. ETGGML_FORMAT if it does not.
Result<std::vector<uint8_t>> checked_order(const uint8_t* order, size_t count, size_t rank, const std::string& path,
                                           const std::string& method, const std::string& value);

/// Whether elements in this order lie as in row-major order; dimensions of size 1 may stand anywhere.
bool is_row_major(const uint8_t* order, const int64_t* shape, size_t rank);

/// Copies row-major elements into `order`, and back. `size`: bytes of an element.
void from_row_major(const uint8_t* order, const int64_t* shape, size_t rank, size_t size, const void* from, void* to);
void to_row_major(const uint8_t* order, const int64_t* shape, size_t rank, size_t size, const void* from, void* to);

}  // namespace etggml::program
