# libexecutorch_ggml: everything under csrc/ except the tools.

file(GLOB_RECURSE sources CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/csrc/*.cpp")
list(FILTER sources EXCLUDE REGEX "/csrc/(tools|ggml_ext)/")
file(WRITE "${EXECUTORCH_GGML_GENERATED_DIR}/empty.cpp" "")   # a library needs a source, even in the first hour of a tree

add_library(executorch_ggml SHARED ${sources} "${EXECUTORCH_GGML_GENERATED_DIR}/empty.cpp")
add_dependencies(executorch_ggml executorch_ggml_schema ${EXECUTORCH_GGML_GGML_TARGETS})
set_target_properties(executorch_ggml PROPERTIES
  CXX_VISIBILITY_PRESET hidden
  VISIBILITY_INLINES_HIDDEN ON
  INSTALL_RPATH "${EXECUTORCH_GGML_ORIGIN};${EXECUTORCH_GGML_ORIGIN}/../../executorch/lib")
target_include_directories(executorch_ggml
  PUBLIC "${PROJECT_SOURCE_DIR}/csrc/include"
  PRIVATE "${PROJECT_SOURCE_DIR}/csrc" "${EXECUTORCH_GGML_GENERATED_DIR}" "${EXECUTORCH_GGML_GGML_DIR}/src")
target_compile_definitions(executorch_ggml PRIVATE
  ETGGML_BUILD EXECUTORCH_GGML_VERSION="${PROJECT_VERSION}" EXECUTORCH_GGML_BUILD_TYPE="$<CONFIG>")
target_compile_options(executorch_ggml PRIVATE -Wall -Wextra -Wno-missing-field-initializers ${EXECUTORCH_GGML_SANITIZE_FLAGS})
target_link_libraries(executorch_ggml PRIVATE
  executorch_ggml_runtime executorch_ggml_flatbuffers executorch_ggml_json ggml ggml-base Threads::Threads ${CMAKE_DL_LIBS})
target_link_options(executorch_ggml PRIVATE ${EXECUTORCH_GGML_SANITIZE_FLAGS})
if(NOT APPLE AND NOT EXECUTORCH_GGML_SANITIZE)   # a sanitizer's runtime is resolved from the executable
  target_link_options(executorch_ggml PRIVATE -Wl,--no-undefined)
endif()
