# ggml-cuda as a module that finds its libraries wherever it is installed, and the module of our own kernels beside it.

# NVIDIA's wheels lie in the same site-packages, in one of two layouts.
set(cuda_rpath "${EXECUTORCH_GGML_ORIGIN}")
foreach(directory IN ITEMS nvidia/cu${CUDAToolkit_VERSION_MAJOR}/lib nvidia/cuda_runtime/lib nvidia/cublas/lib)
  list(APPEND cuda_rpath "${EXECUTORCH_GGML_ORIGIN}/../../${directory}")
endforeach()
set_property(TARGET ggml-cuda PROPERTY INSTALL_RPATH "${cuda_rpath}")
target_link_options(ggml-cuda PRIVATE -Wl,--no-undefined)

# Kernels that ggml does not have: csrc/cuda/*.cu become libetggml-cuda.so, which ggml-cuda reaches through
# csrc/ggml_ext/etggml_cuda_hook.h. A module of its own, so that a new kernel costs no build of ggml-cuda.
set(EXECUTORCH_GGML_CUDA_TARGETS)
get_filename_component(cuda_csrc "${CMAKE_CURRENT_LIST_DIR}/../csrc" ABSOLUTE)
file(GLOB cuda_sources CONFIGURE_DEPENDS "${cuda_csrc}/cuda/*.cu")
if(cuda_sources)
  add_library(etggml-cuda MODULE EXCLUDE_FROM_ALL ${cuda_sources})
  set_target_properties(etggml-cuda PROPERTIES
    CUDA_VISIBILITY_PRESET hidden
    CXX_VISIBILITY_PRESET hidden
    LIBRARY_OUTPUT_DIRECTORY "${CMAKE_LIBRARY_OUTPUT_DIRECTORY}"
    INSTALL_RPATH "${cuda_rpath}")
  target_include_directories(etggml-cuda PRIVATE "${cuda_csrc}" "${cuda_csrc}/ggml_ext")
  target_compile_options(etggml-cuda PRIVATE "$<$<COMPILE_LANGUAGE:CUDA>:-compress-mode=${GGML_CUDA_COMPRESSION_MODE}>")
  target_link_libraries(etggml-cuda PRIVATE ggml-base CUDA::cudart)
  target_link_options(etggml-cuda PRIVATE -Wl,--no-undefined)
  executorch_ggml_seal(etggml-cuda)
  list(APPEND EXECUTORCH_GGML_CUDA_TARGETS etggml-cuda)
endif()
