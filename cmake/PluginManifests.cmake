# ggml-<backend>.json beside every module that may be a plug-in, also where it is built together with the library: what
# the module was made for and what it needs, read before it is opened (csrc/devices/plugin/manifest.h).

get_filename_component(plugin_root "${CMAKE_CURRENT_LIST_DIR}/.." ABSOLUTE)
file(STRINGS "${plugin_root}/pyproject.toml" version_line REGEX "^version = \"" LIMIT_COUNT 1)
string(REGEX MATCH "[0-9]+\\.[0-9]+\\.[0-9]+" PLUGIN_VERSION "${version_line}")
file(STRINGS "${plugin_root}/csrc/devices/plugin/abi.h" abi_line REGEX "^#define ETGGML_PLUGIN_ABI ")
string(REGEX MATCH "[0-9]+" PLUGIN_ABI "${abi_line}")
get_directory_property(PLUGIN_GGML_VERSION DIRECTORY "${EXECUTORCH_GGML_GGML_DIR}" DEFINITION GGML_VERSION)
if(NOT PLUGIN_ABI OR NOT PLUGIN_GGML_VERSION)
  message(FATAL_ERROR "the versions of plug-ins are not known (ABI '${PLUGIN_ABI}', ggml '${PLUGIN_GGML_VERSION}')")
endif()
if(TARGET ggml-cuda)
  get_target_property(PLUGIN_CUDA_ARCHITECTURES ggml-cuda CUDA_ARCHITECTURES)   # ggml changes what it was given
  math(EXPR PLUGIN_CUDA_BELOW "${CUDAToolkit_VERSION_MAJOR} + 1")
endif()
foreach(backend cuda vulkan rpc)
  if(TARGET ggml-${backend})
    set(manifest "${CMAKE_LIBRARY_OUTPUT_DIRECTORY}/ggml-${backend}.json")
    configure_file("${plugin_root}/cmake/plugins/${backend}.json.in" "${manifest}" @ONLY)
    install(FILES "${manifest}" DESTINATION lib COMPONENT executorch_ggml)
  endif()
endforeach()
