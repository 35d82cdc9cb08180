# What ggml-cuda is built with, where a machine without a GPU has it: nvcc and the CUDA runtime from the toolkit, cuBLAS
# from the toolkit or from NVIDIA's wheel, the driver as a stub. Included before ggml, whose find_package(CUDAToolkit)
# takes the targets that exist.

if(NOT CMAKE_CUDA_ARCHITECTURES)
  # One architecture is all a developer needs; wheels/cuda.toml names those of a release.
  set(CMAKE_CUDA_ARCHITECTURES 90-real CACHE STRING "GPU architectures: NN-real is machine code, NN-virtual is PTX")
endif()
if(EXECUTORCH_GGML_CCACHE AND NOT CMAKE_CUDA_COMPILER_LAUNCHER)
  set(CMAKE_CUDA_COMPILER_LAUNCHER "${EXECUTORCH_GGML_CCACHE}")
endif()
enable_language(CUDA)
# One CUDA runtime in the process, NVIDIA's shared one: CMake would add its static one to every module.
set(CMAKE_CUDA_RUNTIME_LIBRARY Shared)
set(CMAKE_CUDA_STANDARD 17)
set(CMAKE_CUDA_STANDARD_REQUIRED ON)
# nvcc's default is for speed of decompression; a module is decompressed once, and a wheel is downloaded by everyone.
set(GGML_CUDA_COMPRESSION_MODE size CACHE STRING "" FORCE)

# ---- the driver ------------------------------------------------------------------------------------------------------
# Always a stub: the module must not remember a libcuda of the build machine. Outside lib/, where no RUNPATH finds it.
add_library(etggml_cuda_stub SHARED EXCLUDE_FROM_ALL "${CMAKE_CURRENT_LIST_DIR}/plugins/cuda_driver_stub.c")
set_target_properties(etggml_cuda_stub PROPERTIES
  OUTPUT_NAME cuda SOVERSION 1 LIBRARY_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/cuda-stub")
add_library(CUDA::cuda_driver ALIAS etggml_cuda_stub)

# ---- the runtime and cuBLAS ------------------------------------------------------------------------------------------
find_package(CUDAToolkit 13.0 REQUIRED)
set(EXECUTORCH_GGML_CUDA_VERSION "${CUDAToolkit_VERSION_MAJOR}.${CUDAToolkit_VERSION_MINOR}")
find_path(EXECUTORCH_GGML_CUBLAS_INCLUDE cublas_v2.h HINTS ${CUDAToolkit_INCLUDE_DIRS} NO_DEFAULT_PATH DOC "Directory of cublas_v2.h")
if(NOT TARGET CUDA::cublas OR NOT EXECUTORCH_GGML_CUBLAS_INCLUDE)
  # Both layouts of NVIDIA's wheels: one directory per CUDA version, or one per library.
  find_package(Python3 REQUIRED COMPONENTS Interpreter)
  execute_process(
    COMMAND "${Python3_EXECUTABLE}" -c "import nvidia; print(';'.join(nvidia.__path__))"
    OUTPUT_VARIABLE wheels OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
  set(prefixes)
  foreach(directory IN LISTS wheels)
    list(APPEND prefixes "${directory}/cu${CUDAToolkit_VERSION_MAJOR}" "${directory}/cublas")
  endforeach()
  set(soname "libcublas.so.${CUDAToolkit_VERSION_MAJOR}")
  find_path(EXECUTORCH_GGML_CUBLAS_INCLUDE cublas_v2.h HINTS ${prefixes} PATH_SUFFIXES include NO_DEFAULT_PATH)
  find_library(EXECUTORCH_GGML_CUBLAS_LIBRARY NAMES ${soname} HINTS ${prefixes} PATH_SUFFIXES lib NO_DEFAULT_PATH DOC "${soname}")
  if(NOT EXECUTORCH_GGML_CUBLAS_INCLUDE OR NOT EXECUTORCH_GGML_CUBLAS_LIBRARY)
    message(FATAL_ERROR
      "cuBLAS is neither in the CUDA toolkit nor installed for ${Python3_EXECUTABLE}: "
      "pip install 'nvidia-cublas==${EXECUTORCH_GGML_CUDA_VERSION}.*', or set EXECUTORCH_GGML_CUBLAS_INCLUDE and EXECUTORCH_GGML_CUBLAS_LIBRARY.")
  endif()
  add_library(CUDA::cublas UNKNOWN IMPORTED)
  set_target_properties(CUDA::cublas PROPERTIES IMPORTED_LOCATION "${EXECUTORCH_GGML_CUBLAS_LIBRARY}")
  target_include_directories(CUDA::cublas SYSTEM INTERFACE ${CUDAToolkit_INCLUDE_DIRS} "${EXECUTORCH_GGML_CUBLAS_INCLUDE}")
endif()
