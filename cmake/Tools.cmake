# Each csrc/tools/<name>.cpp is one executable that sees the C ABI only, as a user's program would.

file(GLOB tools CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/csrc/tools/*.cpp")
set(EXECUTORCH_GGML_TOOL_TARGETS)
foreach(tool IN LISTS tools)
  get_filename_component(name "${tool}" NAME_WE)
  add_executable(${name} "${tool}")
  target_link_libraries(${name} PRIVATE executorch_ggml executorch_ggml_json)
  target_compile_options(${name} PRIVATE -Wall -Wextra ${EXECUTORCH_GGML_SANITIZE_FLAGS})
  target_link_options(${name} PRIVATE ${EXECUTORCH_GGML_SANITIZE_FLAGS})
  if(NOT APPLE)   # the linker wants to see what the library itself needs, without any of it going into the tool
    target_link_options(${name} PRIVATE "-Wl,-rpath-link,${EXECUTORCH_GGML_EXECUTORCH_LIB}")
  endif()
  # lib/ lies beside bin/; libexecutorch is found by the library's own RUNPATH.
  set_target_properties(${name} PROPERTIES INSTALL_RPATH "${EXECUTORCH_GGML_ORIGIN}/../lib")
  list(APPEND EXECUTORCH_GGML_TOOL_TARGETS ${name})
endforeach()
