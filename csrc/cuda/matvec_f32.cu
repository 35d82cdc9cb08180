#include "matvec_plan.cuh"

namespace etggml::cuda {
const MatVecType kMatVecF32 = matvec_type<F32>();
}
