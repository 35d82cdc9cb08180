#include "matvec_plan.cuh"

namespace etggml::cuda {
const MatVecType kMatVecQ4_0 = matvec_type<Q4_0>();
}
