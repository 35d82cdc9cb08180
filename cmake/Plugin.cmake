# One ggml backend as a plug-in: a module, and the manifest that the installed library checks before it opens the module.
# cmake --install <build> --component executorch_ggml --prefix <site-packages>/executorch_ggml_<plug-in>

set(plugin_target "ggml-${EXECUTORCH_GGML_PLUGIN}")
if(NOT TARGET ${plugin_target})
  message(FATAL_ERROR "EXECUTORCH_GGML_PLUGIN=${EXECUTORCH_GGML_PLUGIN}: ggml made no ${plugin_target}; there are ${GGML_AVAILABLE_BACKENDS}")
endif()
# The base library is loaded already and found by its name; this makes the module complete for tools that look at it alone.
get_target_property(plugin_rpath ${plugin_target} INSTALL_RPATH)
set_property(TARGET ${plugin_target} PROPERTY INSTALL_RPATH "${plugin_rpath};${EXECUTORCH_GGML_ORIGIN}/../../executorch_ggml/lib")
set(plugin_targets ${plugin_target} ${EXECUTORCH_GGML_CUDA_TARGETS})
add_custom_target(executorch_ggml_plugin ALL DEPENDS ${plugin_targets})
install(TARGETS ${plugin_targets} LIBRARY DESTINATION lib COMPONENT executorch_ggml)
install(FILES ${EXECUTORCH_GGML_LICENCES} DESTINATION licences COMPONENT executorch_ggml)
