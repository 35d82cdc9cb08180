# libexecutorch_ggml: everything under csrc/ except the tools. Also executorch_ggml_static, the same objects as an
# archive, so that C++ tests reach what the shared library hides.

file(GLOB_RECURSE sources CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/csrc/*.cpp")
list(FILTER sources EXCLUDE REGEX "/csrc/(tools|ggml_ext)/")

add_library(executorch_ggml_objects OBJECT ${sources} ${EXECUTORCH_GGML_HIGHWAY_SOURCES})
add_dependencies(executorch_ggml_objects executorch_ggml_schema)
set_target_properties(executorch_ggml_objects PROPERTIES CXX_VISIBILITY_PRESET hidden VISIBILITY_INLINES_HIDDEN ON)
target_include_directories(executorch_ggml_objects PUBLIC
  "${PROJECT_SOURCE_DIR}/csrc/include" "${PROJECT_SOURCE_DIR}/csrc" "${EXECUTORCH_GGML_GENERATED_DIR}" "${EXECUTORCH_GGML_GGML_DIR}/src")
target_compile_definitions(executorch_ggml_objects PRIVATE
  EXECUTORCH_GGML_VERSION="${PROJECT_VERSION}" EXECUTORCH_GGML_BUILD_TYPE="$<CONFIG>")
target_compile_options(executorch_ggml_objects
  PRIVATE -Wall -Wextra -Wno-missing-field-initializers
  PUBLIC ${EXECUTORCH_GGML_SANITIZE_FLAGS})
target_link_options(executorch_ggml_objects INTERFACE ${EXECUTORCH_GGML_SANITIZE_FLAGS})
target_link_libraries(executorch_ggml_objects PUBLIC
  executorch_ggml_runtime executorch_ggml_flatbuffers executorch_ggml_json ggml ggml-base Threads::Threads ${CMAKE_DL_LIBS})

# Only the kernels see Highway. Its sources choose the instruction sets that a file is compiled for.
file(GLOB kernel_sources CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/csrc/kernels/*.cpp")
set_property(SOURCE ${kernel_sources} ${EXECUTORCH_GGML_HIGHWAY_SOURCES} APPEND PROPERTY
  COMPILE_OPTIONS -isystem "${EXECUTORCH_GGML_HIGHWAY_DIR}")
set_property(SOURCE ${kernel_sources} ${EXECUTORCH_GGML_HIGHWAY_SOURCES} APPEND PROPERTY
  COMPILE_DEFINITIONS "${EXECUTORCH_GGML_HIGHWAY_DEFINITIONS}")
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # gcc 12 takes the undefined operands of its own AVX-512 intrinsics for uninitialised variables.
  set_property(SOURCE ${kernel_sources} APPEND PROPERTY COMPILE_OPTIONS -Wno-uninitialized -Wno-maybe-uninitialized)
endif()
# Products of quantised matrices are compiled for one set, file by file; the CPU is asked first (util/cpu.h).
if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64|amd64)$" AND CMAKE_CXX_COMPILER_ID MATCHES "GNU|Clang")
  file(GLOB vnni_sources CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/csrc/kernels/*_avx512vnni.cpp")
  set_property(SOURCE ${vnni_sources} APPEND PROPERTY
    COMPILE_OPTIONS -mavx2 -mfma -mf16c -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx512vnni)
  set_property(SOURCE ${vnni_sources} APPEND PROPERTY COMPILE_DEFINITIONS ETGGML_BUILD_AVX512VNNI)
endif()

add_library(executorch_ggml SHARED $<TARGET_OBJECTS:executorch_ggml_objects>)
add_dependencies(executorch_ggml ${EXECUTORCH_GGML_GGML_TARGETS})   # the modules are not linked, but belong to it
set_target_properties(executorch_ggml PROPERTIES
  LINKER_LANGUAGE CXX
  INSTALL_RPATH "${EXECUTORCH_GGML_ORIGIN};${EXECUTORCH_GGML_ORIGIN}/../../executorch/lib")
executorch_ggml_seal(executorch_ggml)
target_include_directories(executorch_ggml INTERFACE "${PROJECT_SOURCE_DIR}/csrc/include")
target_link_libraries(executorch_ggml PRIVATE executorch_ggml_objects)
if(NOT APPLE AND NOT EXECUTORCH_GGML_SANITIZE)   # a sanitizer's runtime is resolved from the executable
  target_link_options(executorch_ggml PRIVATE -Wl,--no-undefined)
endif()

add_library(executorch_ggml_static STATIC EXCLUDE_FROM_ALL $<TARGET_OBJECTS:executorch_ggml_objects>)
target_link_libraries(executorch_ggml_static PUBLIC executorch_ggml_objects)
