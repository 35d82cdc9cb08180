# Where foreign sources come from. Defines
#   EXECUTORCH_GGML_GGML_DIR      ggml's source directory (patched copy)
#   executorch_ggml_json          nlohmann/json, header only
#   EXECUTORCH_GGML_HIGHWAY_*     Highway: its directory, the sources that ask the CPU, and definitions for its users
#   executorch_ggml_flatbuffers   FlatBuffers headers;  EXECUTORCH_GGML_FLATC: the schema compiler
#   executorch_ggml_runtime       ExecuTorch's libexecutorch + etdump as compiled into its wheel

foreach(override GGML_SOURCE_DIR EXECUTORCH_ROOT)
  if(NOT DEFINED ${override} AND DEFINED ENV{${override}})
    set(${override} "$ENV{${override}}")
  endif()
endforeach()
set(GGML_SOURCE_DIR "${GGML_SOURCE_DIR}" CACHE PATH "A llama.cpp tree to take ggml from instead of the pinned one")
set(EXECUTORCH_ROOT "${EXECUTORCH_ROOT}" CACHE PATH "An installed executorch (holding include/ and lib/) instead of the pinned wheel")
set(EXECUTORCH_GGML_THIRD_PARTY_DIR "${PROJECT_SOURCE_DIR}/build/third-party" CACHE PATH "Where foreign sources are unpacked; may be shared by build directories")

find_package(Python3 3.10 REQUIRED COMPONENTS Interpreter)

# The fetch is a no-op of a few milliseconds when everything is in place, so it runs at every configure.
function(executorch_ggml_fetch package result)
  execute_process(
    COMMAND "${Python3_EXECUTABLE}" "${PROJECT_SOURCE_DIR}/third-party/fetch.py" --dest "${EXECUTORCH_GGML_THIRD_PARTY_DIR}" ${package} ${ARGN}
    OUTPUT_VARIABLE where OUTPUT_STRIP_TRAILING_WHITESPACE
    RESULT_VARIABLE code)
  if(NOT code EQUAL 0)
    message(FATAL_ERROR "third-party/fetch.py could not provide ${package}; its message is above.")
  endif()
  set(${result} "${where}" PARENT_SCOPE)
endfunction()

set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS
  third-party/lock.json third-party/fetch.py)
file(GLOB executorch_ggml_patches CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/third-party/patches/*.patch")
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${executorch_ggml_patches})

# ---- ggml and nlohmann/json -----------------------------------------------------------------------------------------
set(ggml_source_argument)
if(GGML_SOURCE_DIR)
  get_filename_component(ggml_tree "${GGML_SOURCE_DIR}" ABSOLUTE)
  if(NOT EXISTS "${ggml_tree}/ggml/CMakeLists.txt" AND EXISTS "${ggml_tree}/src/ggml.c")
    get_filename_component(ggml_tree "${ggml_tree}" DIRECTORY)   # llama.cpp/ggml was named instead of llama.cpp
  endif()
  if(NOT EXISTS "${ggml_tree}/ggml/CMakeLists.txt")
    message(FATAL_ERROR "GGML_SOURCE_DIR=${GGML_SOURCE_DIR} is not a llama.cpp tree: it has no ggml/CMakeLists.txt.")
  endif()
  set(ggml_source_argument --ggml-source "${ggml_tree}")
endif()
executorch_ggml_fetch(llama.cpp llama_dir ${ggml_source_argument})
set(EXECUTORCH_GGML_GGML_DIR "${llama_dir}/ggml")
set(EXECUTORCH_GGML_LLAMA_COMMIT unknown)
if(NOT GGML_SOURCE_DIR)
  # Our log and the manifests of plug-ins show ggml's version as its sources have it, and the commit of the lock.
  file(READ "${PROJECT_SOURCE_DIR}/third-party/lock.json" lock)
  string(JSON locked_ggml GET "${lock}" packages llama.cpp version)
  string(REGEX MATCH "^ggml ([0-9.]+) \\(llama.cpp ([0-9a-f]+)\\)$" _ "${locked_ggml}")
  set(locked_version "${CMAKE_MATCH_1}")
  set(EXECUTORCH_GGML_LLAMA_COMMIT "${CMAKE_MATCH_2}")
  set(fetched_version)
  foreach(part MAJOR MINOR PATCH)
    file(STRINGS "${EXECUTORCH_GGML_GGML_DIR}/CMakeLists.txt" line REGEX "^set\\(GGML_VERSION_${part} [0-9]+\\)")
    string(REGEX MATCH "[0-9]+" number "${line}")
    list(APPEND fetched_version "${number}")
  endforeach()
  list(JOIN fetched_version "." fetched_version)
  if(NOT fetched_version STREQUAL locked_version)
    message(FATAL_ERROR "third-party/lock.json says \"${locked_ggml}\" for llama.cpp, but its sources are ggml ${fetched_version}. Write \"ggml ${fetched_version} (llama.cpp <commit>)\".")
  endif()
endif()
add_library(executorch_ggml_json INTERFACE)
target_include_directories(executorch_ggml_json SYSTEM INTERFACE "${llama_dir}/vendor")
set(EXECUTORCH_GGML_LICENCES "${llama_dir}/LICENSE" "${llama_dir}/licenses/LICENSE-jsonhpp")

if(EXECUTORCH_GGML_PLUGIN)
  return()   # a plug-in is ggml alone
endif()

# ---- Highway --------------------------------------------------------------------------------------------------------
executorch_ggml_fetch(highway EXECUTORCH_GGML_HIGHWAY_DIR)
set(EXECUTORCH_GGML_HIGHWAY_SOURCES)
foreach(source abort per_target targets)
  list(APPEND EXECUTORCH_GGML_HIGHWAY_SOURCES "${EXECUTORCH_GGML_HIGHWAY_DIR}/hwy/${source}.cc")
endforeach()
if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64|amd64)$")
  # AVX2 and AVX-512, besides the instructions that the compiler may use anywhere. Our kernels gain nothing from others.
  set(EXECUTORCH_GGML_HIGHWAY_DEFINITIONS "HWY_DISABLED_TARGETS=(HWY_SSSE3|HWY_SSE4|HWY_AVX3_DL|HWY_AVX3_ZEN4|HWY_AVX3_SPR|HWY_AVX10_2)")
else()
  # NEON belongs to every 64-bit Arm; the CPU need not be asked.
  set(EXECUTORCH_GGML_HIGHWAY_DEFINITIONS HWY_COMPILE_ONLY_STATIC)
endif()
configure_file("${EXECUTORCH_GGML_HIGHWAY_DIR}/LICENSE-BSD3" "${PROJECT_BINARY_DIR}/LICENSE-highway" COPYONLY)
list(APPEND EXECUTORCH_GGML_LICENCES "${PROJECT_BINARY_DIR}/LICENSE-highway")

# ---- FlatBuffers ----------------------------------------------------------------------------------------------------
find_path(EXECUTORCH_GGML_FLATBUFFERS_INCLUDE flatbuffers/flatbuffers.h DOC "Directory that holds flatbuffers/flatbuffers.h")
# The compiler beside the headers first: executorch's wheel puts a flatc of another version onto a virtual environment's PATH.
find_program(EXECUTORCH_GGML_FLATC flatc HINTS "${EXECUTORCH_GGML_FLATBUFFERS_INCLUDE}/../bin" DOC "FlatBuffers schema compiler")
if(NOT EXECUTORCH_GGML_FLATC OR NOT EXECUTORCH_GGML_FLATBUFFERS_INCLUDE)
  message(FATAL_ERROR
    "FlatBuffers is missing (flatc: ${EXECUTORCH_GGML_FLATC}, headers: ${EXECUTORCH_GGML_FLATBUFFERS_INCLUDE}).\n"
    "Debian/Ubuntu: apt-get install flatbuffers-compiler libflatbuffers-dev; macOS: brew install flatbuffers; "
    "or set EXECUTORCH_GGML_FLATC and EXECUTORCH_GGML_FLATBUFFERS_INCLUDE.")
endif()
# Code generated by one version does not compile against the headers of another.
execute_process(COMMAND "${EXECUTORCH_GGML_FLATC}" --version OUTPUT_VARIABLE flatc_version OUTPUT_STRIP_TRAILING_WHITESPACE)
string(REGEX MATCH "[0-9]+\\.[0-9]+\\.[0-9]+" flatc_version "${flatc_version}")
file(STRINGS "${EXECUTORCH_GGML_FLATBUFFERS_INCLUDE}/flatbuffers/base.h" version_lines REGEX "#define FLATBUFFERS_VERSION_(MAJOR|MINOR|REVISION) ")
string(REGEX REPLACE "[^0-9;]" "" header_version "${version_lines}")
list(JOIN header_version "." header_version)
if(NOT flatc_version VERSION_EQUAL header_version)
  message(FATAL_ERROR "flatc is ${flatc_version} but ${EXECUTORCH_GGML_FLATBUFFERS_INCLUDE} holds the headers of ${header_version}; install a matching pair.")
endif()
add_library(executorch_ggml_flatbuffers INTERFACE)
target_include_directories(executorch_ggml_flatbuffers SYSTEM INTERFACE "${EXECUTORCH_GGML_FLATBUFFERS_INCLUDE}")

# ---- ExecuTorch -----------------------------------------------------------------------------------------------------
if(EXECUTORCH_ROOT)
  set(executorch_dir "${EXECUTORCH_ROOT}")
else()
  executorch_ggml_fetch(executorch executorch_dir)
endif()
set(EXECUTORCH_GGML_EXECUTORCH_LIB "${executorch_dir}/lib")
set(suffix "${CMAKE_SHARED_LIBRARY_SUFFIX}")
foreach(needed include/executorch/runtime/backend/interface.h lib/libexecutorch${suffix} lib/libexecutorch_etdump${suffix})
  if(NOT EXISTS "${executorch_dir}/${needed}")
    message(FATAL_ERROR "${executorch_dir} has no ${needed}: executorch >= 1.5 on Linux or macOS is needed (older wheels and Windows wheels have no linkable libraries).")
  endif()
endforeach()
# Linked by path. The targets of find_package(executorch) would put the build machine's absolute site-packages path
# into RUNPATH, and need CMake 3.28.
foreach(part executorch executorch_etdump)
  add_library(executorch_ggml_${part} SHARED IMPORTED)
  set_target_properties(executorch_ggml_${part} PROPERTIES IMPORTED_LOCATION "${executorch_dir}/lib/lib${part}${suffix}")
endforeach()
add_library(executorch_ggml_runtime INTERFACE)
target_include_directories(executorch_ggml_runtime SYSTEM INTERFACE
  "${executorch_dir}/include" "${executorch_dir}/include/executorch/runtime/core/portable_type/c10")
# As the wheel's libraries are built: without the first, c10 wants headers that torch generates; without the second
# our inline profiling hooks compile to nothing and its RAII classes have another layout than the library's.
target_compile_definitions(executorch_ggml_runtime INTERFACE C10_USING_CUSTOM_GENERATED_MACROS ET_EVENT_TRACER_ENABLED)
target_link_libraries(executorch_ggml_runtime INTERFACE executorch_ggml_executorch executorch_ggml_executorch_etdump)
