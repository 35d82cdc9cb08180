# cmake --install <build> --component executorch_ggml --prefix <site-packages>/executorch_ggml
# fills lib/, bin/, include/ and lib/cmake/ of the package; ggml's own install rules are not used.

set(component COMPONENT executorch_ggml)
install(TARGETS executorch_ggml ${EXECUTORCH_GGML_GGML_TARGETS} LIBRARY DESTINATION lib ${component})
if(EXECUTORCH_GGML_TOOL_TARGETS)
  install(TARGETS ${EXECUTORCH_GGML_TOOL_TARGETS} RUNTIME DESTINATION bin ${component})
endif()
install(FILES "${PROJECT_SOURCE_DIR}/csrc/include/executorch_ggml.h" DESTINATION include ${component})
install(FILES "${EXECUTORCH_GGML_GENERATED_PYTHON}" DESTINATION ir ${component})
install(FILES ${EXECUTORCH_GGML_LICENCES} DESTINATION licences ${component})

include(CMakePackageConfigHelpers)
configure_file("${PROJECT_SOURCE_DIR}/cmake/executorch_ggml-config.cmake.in" "${PROJECT_BINARY_DIR}/executorch_ggml-config.cmake" @ONLY)
write_basic_package_version_file("${PROJECT_BINARY_DIR}/executorch_ggml-config-version.cmake" COMPATIBILITY SameMinorVersion)
install(FILES
  "${PROJECT_BINARY_DIR}/executorch_ggml-config.cmake"
  "${PROJECT_BINARY_DIR}/executorch_ggml-config-version.cmake"
  DESTINATION lib/cmake/executorch_ggml ${component})
