// Whether memory is there, asked before ggml is: it ends the process when its own small allocations fail.
#pragma once

#include <cstddef>

namespace etggml {

/// True when `bytes`, and a reserve for related objects, can be allocated now.
bool room_for(size_t bytes);

}  // namespace etggml
