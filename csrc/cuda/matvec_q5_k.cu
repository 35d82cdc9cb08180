#include "matvec_plan.cuh"

namespace etggml::cuda {
const MatVecType kMatVecQ5_K = matvec_type<Q5_K>();
}
