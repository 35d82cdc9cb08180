#include "matvec_plan.cuh"

namespace etggml::cuda {
const MatVecType kMatVecQ4_K = matvec_type<Q4_K>();
}
