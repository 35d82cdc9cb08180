# Nothing of ours may bind to another ggml in the process, nor another's code to ours, in whatever order and with whatever
# flags they are loaded. So ggml's functions carry a prefix (ggml_names.py says why a version would not do), and every
# library exports its interface only: what is not exported cannot be replaced, C++ templates of the standard library included.
# Defines executorch_ggml_seal(target...) and EXECUTORCH_GGML_NAMES, the header of the new names.

set(EXECUTORCH_GGML_NAMES "${PROJECT_BINARY_DIR}/generated/etggml_names.h")
set(symbols_directory "${CMAKE_CURRENT_LIST_DIR}")
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS
  "${symbols_directory}/ggml_names.py" "${symbols_directory}/exports.map" "${symbols_directory}/exports.txt")
execute_process(
  COMMAND "${Python3_EXECUTABLE}" "${symbols_directory}/ggml_names.py" "${EXECUTORCH_GGML_GGML_DIR}" "${EXECUTORCH_GGML_NAMES}"
  RESULT_VARIABLE code)
if(NOT code EQUAL 0)
  message(FATAL_ERROR "cmake/ggml_names.py failed; its message is above.")
endif()

function(executorch_ggml_seal)
  foreach(target IN LISTS ARGN)
    if(APPLE)
      target_link_options(${target} PRIVATE "LINKER:-exported_symbols_list,${symbols_directory}/exports.txt")
      set_property(TARGET ${target} APPEND PROPERTY LINK_DEPENDS "${symbols_directory}/exports.txt")
    else()
      # Symbolic: also within a library nothing goes by way of the process's other symbols.
      target_link_options(${target} PRIVATE
        "LINKER:--version-script=${symbols_directory}/exports.map" "LINKER:-Bsymbolic")
      set_property(TARGET ${target} APPEND PROPERTY LINK_DEPENDS "${symbols_directory}/exports.map")
      if(NOT target MATCHES "cuda|vulkan")   # whose users may well name another driver or run-time library
        target_link_options(${target} PRIVATE "LINKER:--disable-new-dtags")   # RPATH: before LD_LIBRARY_PATH
      endif()
    endif()
  endforeach()
endfunction()
