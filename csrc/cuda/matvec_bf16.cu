#include "matvec_plan.cuh"

namespace etggml::cuda {
const MatVecType kMatVecBF16 = matvec_type<BF16>();
}
