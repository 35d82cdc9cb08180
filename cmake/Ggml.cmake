# ggml as a part of us: shared libraries with private names, backends as loadable modules, all in one directory.
# Defines EXECUTORCH_GGML_GGML_TARGETS, what has to be installed beside our library.

# Modules are loaded by file at run time, so a machine without a GPU driver only loses the GPU.
set(BUILD_SHARED_LIBS ON CACHE BOOL "" FORCE)
set(GGML_BACKEND_DL ON CACHE BOOL "" FORCE)
# Two OpenMP runtimes in one process (torch brings its own) is asking for trouble, and libgomp's spinning cannot be bounded.
set(GGML_OPENMP OFF CACHE BOOL "" FORCE)
# Both default to OFF for a ggml that is not built by llama.cpp; without the first, prefill is about half as fast.
set(GGML_LLAMAFILE ON CACHE BOOL "" FORCE)
set(GGML_CUDA_GRAPHS ON CACHE BOOL "" FORCE)
set(GGML_CUDA_NCCL OFF CACHE BOOL "" FORCE)
set(GGML_METAL_EMBED_LIBRARY ON CACHE BOOL "" FORCE)
set(GGML_CCACHE OFF CACHE BOOL "" FORCE)
set(GGML_BUILD_TESTS OFF CACHE BOOL "" FORCE)
set(GGML_BUILD_EXAMPLES OFF CACHE BOOL "" FORCE)
set(GGML_ALL_WARNINGS OFF CACHE BOOL "" FORCE)
set(GGML_NATIVE OFF CACHE BOOL "" FORCE)
set(GGML_CPU_ALL_VARIANTS ${EXECUTORCH_GGML_PORTABLE} CACHE BOOL "" FORCE)   # a module per CPU generation, chosen at load
if(EXECUTORCH_GGML_PLUGIN)
  string(TOUPPER "GGML_${EXECUTORCH_GGML_PLUGIN}" plugin_option)
  set(${plugin_option} ON CACHE BOOL "" FORCE)
  # The installed library brings its own.
  set(GGML_CPU OFF CACHE BOOL "" FORCE)
  set(GGML_CPU_ALL_VARIANTS OFF CACHE BOOL "" FORCE)
endif()
if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64|amd64)$")
  # Of ggml's fourteen: the baseline, AVX2, AVX-VNNI, AVX-512 with VNNI, with BF16, with AMX. The rest differ from one
  # of these by a feature no hot kernel gains from.
  set(ETGGML_CPU_VARIANTS x64 haswell alderlake icelake zen4 sapphirerapids CACHE STRING "CPU modules of a portable build; empty: all that ggml knows")
endif()
if(NOT EXECUTORCH_GGML_PORTABLE AND NOT EXECUTORCH_GGML_PLUGIN)
  if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64|amd64)$")
    # ggml refuses -march=native for loadable x86 backends (the module's score function has to know the features it
    # needs), so this machine's features are asked of the compiler and named one by one.
    execute_process(COMMAND "${CMAKE_C_COMPILER}" -march=native -dM -E -x c /dev/null
      OUTPUT_VARIABLE native_macros ERROR_QUIET)
    foreach(pair SSE42=SSE4_2 AVX=AVX AVX2=AVX2 BMI2=BMI2 FMA=FMA F16C=F16C AVX_VNNI=AVXVNNI AVX512=AVX512F
                 AVX512_VBMI=AVX512VBMI AVX512_VNNI=AVX512VNNI AVX512_BF16=AVX512BF16
                 AMX_TILE=AMX_TILE AMX_INT8=AMX_INT8 AMX_BF16=AMX_BF16)
      string(REPLACE "=" ";" pair "${pair}")
      list(GET pair 0 feature)
      list(GET pair 1 macro)
      string(FIND "${native_macros}" "#define __${macro}__ 1" at)
      if(at GREATER -1)
        set(GGML_${feature} ON CACHE BOOL "" FORCE)
      else()
        set(GGML_${feature} OFF CACHE BOOL "" FORCE)
      endif()
    endforeach()
  else()
    set(GGML_NATIVE ON CACHE BOOL "" FORCE)
  endif()
endif()

# ggml would stamp itself with the commit of the repository around it, which is ours; a commit of ours must not rebuild it.
set(GIT_EXE OFF CACHE STRING "" FORCE)
set(GGML_BUILD_COMMIT 4df29be4f)   # llama.cpp's, as in third-party/lock.json

if(GGML_CUDA)
  include("${CMAKE_CURRENT_LIST_DIR}/CudaToolkit.cmake")
endif()
set(GGML_AVAILABLE_BACKENDS "" CACHE INTERNAL "")   # appended to by ggml; must not remember an earlier configuration
add_subdirectory("${EXECUTORCH_GGML_GGML_DIR}" "${PROJECT_BINARY_DIR}/ggml" EXCLUDE_FROM_ALL SYSTEM)

set(EXECUTORCH_GGML_GGML_TARGETS ggml-base ggml ${GGML_AVAILABLE_BACKENDS})
foreach(target IN LISTS EXECUTORCH_GGML_GGML_TARGETS)
  # Other packages in the same process ship a libggml-base.so too; the loader must never hand one the other's.
  set_property(TARGET ${target} PROPERTY VERSION)
  set_property(TARGET ${target} PROPERTY SOVERSION)
  set_property(TARGET ${target} PROPERTY PUBLIC_HEADER)   # our users get our header, not ggml's
  set_property(TARGET ${target} PROPERTY LIBRARY_OUTPUT_DIRECTORY "${CMAKE_LIBRARY_OUTPUT_DIRECTORY}")
  set_property(TARGET ${target} PROPERTY INSTALL_RPATH "${EXECUTORCH_GGML_ORIGIN}")
  target_compile_options(${target} PRIVATE ${EXECUTORCH_GGML_SANITIZE_FLAGS})
  target_link_options(${target} PRIVATE ${EXECUTORCH_GGML_SANITIZE_FLAGS})
  # Our own header, included by the patched ggml-cpu.c.
  target_include_directories(${target} PRIVATE "${PROJECT_SOURCE_DIR}/csrc/ggml_ext")
  executorch_ggml_seal(${target})
endforeach()
# Everything that calls ggml links its base, and so takes the new names from it.
target_compile_options(ggml-base PUBLIC
  "$<$<COMPILE_LANGUAGE:C,CXX,CUDA,OBJC,OBJCXX>:SHELL:-include '${EXECUTORCH_GGML_NAMES}'>")
if(GGML_CUDA)
  include("${CMAKE_CURRENT_LIST_DIR}/Cuda.cmake")
  list(APPEND EXECUTORCH_GGML_GGML_TARGETS ${EXECUTORCH_GGML_CUDA_TARGETS})
endif()
if(TARGET ggml-cpu AND NOT EXECUTORCH_GGML_PORTABLE AND native_macros MATCHES "#define __x86_64__ 1")
  # What -march=native would add beyond ggml's list: half-precision arithmetic, which attention on an F16 cache gains half
  # its time from, and this machine's scheduling.
  target_compile_options(ggml-cpu PRIVATE -mtune=native)
  if(native_macros MATCHES "#define __AVX512FP16__ 1")
    target_compile_options(ggml-cpu PRIVATE -mavx512fp16)
  endif()
endif()
set_property(TARGET ggml-base PROPERTY OUTPUT_NAME etggml-base)
set_property(TARGET ggml PROPERTY OUTPUT_NAME etggml)
# The modules keep the names libggml-<backend>*.so: ggml's loader looks for them in our directory.
