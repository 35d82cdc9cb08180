#include "matvec_plan.cuh"

namespace etggml::cuda {
const MatVecType kMatVecF16 = matvec_type<F16>();
}
