#include "matvec_plan.cuh"

namespace etggml::cuda {
const MatVecType kMatVecQ8_0 = matvec_type<Q8_0>();
}
