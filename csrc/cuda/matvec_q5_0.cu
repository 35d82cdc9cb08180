#include "matvec_plan.cuh"

namespace etggml::cuda {
const MatVecType kMatVecQ5_0 = matvec_type<Q5_0>();
}
