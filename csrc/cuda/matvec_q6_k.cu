#include "matvec_plan.cuh"

namespace etggml::cuda {
const MatVecType kMatVecQ6_K = matvec_type<Q6_K>();
}
