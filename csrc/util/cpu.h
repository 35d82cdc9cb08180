// Instructions this CPU (and its operating system) has, asked once at run time: one build serves many machines. Kernels
// on Highway ask by themselves.
#pragma once

namespace etggml {

/// AVX2, FMA and F16C, AVX-512 F, BW, DQ and VL, and the dot products of bytes (VNNI).
inline bool cpu_has_avx512_vnni() {
#if defined(__x86_64__) && defined(__GNUC__)
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c") &&
         __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
         __builtin_cpu_supports("avx512vnni");
#else
  return false;
#endif
}

}  // namespace etggml
